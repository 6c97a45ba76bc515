#include "sojourn/worker/isolation.hpp"

#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/worker/folder_walk.hpp"

namespace sojourn::worker {

Isolation::Isolation() = default;

Isolation::Isolation(std::uint32_t owner, const UserRange& users, const std::filesystem::path& data) {
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
}

JsonObject Isolation::describe() const {
  return {{"limits", limits_by()}, {"worker_ids", users_.has_value()}};
}

Async<std::shared_ptr<WorkerUsers::Lease>> Isolation::lease() {
  if (!users_) co_return nullptr;
  co_return co_await lending_.run([&] { return users_->lease(); });
}

Async<void> Isolation::give(std::shared_ptr<WorkerUsers::Lease> lease, std::string folder) {
  if (lease != nullptr) co_await lending_.run([&] { lease->give(folder); });
}

Async<Isolation::FolderLook> Isolation::look_at(std::string folder, std::uint64_t most) {
  co_return co_await looking_.run([&] {
    FolderLook look;
    const auto began = std::chrono::steady_clock::now();
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
