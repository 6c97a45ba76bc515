#include "sojourn/worker/isolation.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/worker/channels.hpp"
#include "sojourn/worker/folder_walk.hpp"
#include "sojourn/worker/sandbox.hpp"

namespace sojourn::worker {

Isolation::Isolation() = default;

Isolation::Isolation(std::uint32_t owner, const UserRange& users, const std::filesystem::path& data,
                     std::vector<std::filesystem::path> hidden)
    : hidden_(std::move(hidden)) {
  if (!users.is_empty()) users_.emplace(users, data);
  cgroups_ = prepare_cgroups(owner);
}

Isolation::~Isolation() {
  // The supervisor removed it, if one was started.
  std::error_code ignored;
  if (!cgroups_.folder.empty()) std::filesystem::remove(cgroups_.folder, ignored);
}

void Isolation::tell(const Log& log) const {
  if (cgroups_.folder.empty()) {
    log.info("limits hold each process of a worker by itself",
             {{"limits", limits_by()}, {"why", to_valid_utf8(cgroups_.why_not)}});
  } else {
    log.info("limits hold all processes of a worker together",
             {{"limits", limits_by()}, {"folder", to_valid_utf8(cgroups())}});
  }
  if (users_) {
    log.info("each worker has a user id of its own",
             {{"worker_ids", true}, {"first", users().first}, {"last", users().last}});
  } else {
    log.info("workers have the server's user", {{"worker_ids", false}});
  }
  if (no_sandbox_) {
    log.info("no sandbox can be made for workers", {{"sandbox", false}, {"why", *no_sandbox_}});
  } else {
    log.info("workers get a sandbox where their app wants one", {{"sandbox", true}});
  }
}

JsonObject Isolation::describe() const {
  return {{"limits", limits_by()}, {"worker_ids", users_.has_value()}, {"sandbox", !no_sandbox_}};
}

Async<void> Isolation::try_sandbox(Supervisor& supervisor, Clock& clock, Instant deadline) {
  try {
    Channels channels = make_channels();
    Launch launch{.command = in_sandbox({.is_wanted = true}, {"", "/usr", hidden_}, {"true"}),
                  .environment = {"PATH=/usr/bin:/bin"},
                  .folder = "/",
                  .limits = {},
                  .lease = co_await lease(),
                  .socket = std::move(channels.theirs[0]),
                  .output = std::move(channels.theirs[1]),
                  .errors = std::move(channels.theirs[2])};
    const auto process = co_await supervisor.spawn(std::move(launch), deadline);
    const auto ended = co_await process->exited().wait_until(clock, deadline);
    if (!ended) process->signal(SIGKILL);
    if (ended && ended->wait_status == 0) {
      no_sandbox_.reset();
    } else {
      std::string said(4096, '\0');
      ::fcntl(channels.ours.errors.get(), F_SETFL, O_NONBLOCK);
      const ssize_t got = ::read(channels.ours.errors.get(), said.data(), said.size());
      said.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      no_sandbox_ = sandbox_refusal(said).value_or(ended ? ended->describe() : "it was not made in time");
    }
  } catch (const Error& error) {
    no_sandbox_ = error.message();
  }
}

Async<std::shared_ptr<WorkerUsers::Lease>> Isolation::lease() {
  if (!users_) co_return nullptr;
  co_return co_await lending_.run([&] { return users_->lease(); });
}

Async<void> Isolation::give(std::shared_ptr<WorkerUsers::Lease> lease, std::string folder) {
  if (lease != nullptr) co_await lending_.run([&] { lease->give(folder); });
}

Async<Isolation::FolderLook> Isolation::look_at(std::string folder, std::uint64_t most) {
  // With its wait for the thread, so that many folders are looked at less often, not later and later.
  const auto began = std::chrono::steady_clock::now();
  co_return co_await looking_.run([&] {
    FolderLook look;
    try {
      look.bytes = size_of_folder(folder, most);
    } catch (const Error&) {
      // It is not there.
    }
    look.took = std::chrono::steady_clock::now() - began;
    return look;
  });
}

}  // namespace sojourn::worker
