#include "sojourn/worker/process_app.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/worker/channels.hpp"
#include "sojourn/worker/fork_messages.hpp"

namespace sojourn::worker {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// What a worker whose setup failed gets to exit by itself.
constexpr auto failed_setup_exit = 1s;

// The error with what the program said last, and for a program that never came up the app's name.
Error explain(const Error& error, const session::AppInfo& app, const std::string& last_errors) {
  JsonObject details = error.details();
  if (!last_errors.empty()) details["stderr"] = last_errors;
  const bool by_app = error.code() != ErrorCode::worker_start_failed && error.code() != ErrorCode::protocol_error;
  std::string message = by_app ? error.message() : fmt::format("app {}: {}", app.name, error.message());
  return Error(error.code(), std::move(message), std::move(details)).set_retryable(error.retryable());
}

}  // namespace

ProcessApp::ProcessApp(Manifest manifest, Supervisor& supervisor, Isolation& isolation, Clock& clock, const Log& log)
    : manifest_(std::move(manifest)),
      supervisor_(supervisor),
      isolation_(isolation),
      clock_(clock),
      log_(log),
      spares_(
          supervisor.executor(), clock, log,
          {.app = manifest_.info.name,
           .wanted = manifest_.min_warm,
           .start = [this](session::WorkerEvents& events, Instant deadline) { return start_spare(events, deadline); },
           .room = [this] { return room_for_spares(); }}),
      crashes_(clock, manifest_.crashes_per_minute) {
  if (manifest_.prefork) parent_.emplace(supervisor, clock, log, parent_options());
}

// What a process gets that is started for a session, or for none that is known yet.
std::vector<std::string> ProcessApp::environment(const session::Opening* opening) const {
  const char* path = std::getenv("PATH");
  const char* zone = std::getenv("TZ");
  std::map<std::string, std::string> variables{
      {"PATH", path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path},
      {"LANG", "C.UTF-8"},
      {"SOJOURN_PROTOCOL", std::to_string(protocol_version)},
      {"SOJOURN_APP", manifest_.info.name},
      {"SOJOURN_APP_DIR", manifest_.folder},
  };
  if (zone != nullptr) variables["TZ"] = zone;
  if (opening != nullptr) variables["SOJOURN_SESSION"] = opening->session_id;
  if (opening != nullptr && !opening->folder.empty()) {
    variables["HOME"] = opening->folder;
    variables["TMPDIR"] = opening->folder + "/tmp";
  }
  if (manifest_.prefork) {
    // Threads do not survive a fork, so libraries that calculate must not start any.
    for (const char* threads : {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"})
      variables[threads] = "1";
  }
  for (const auto& [name, value] : manifest_.env) variables[name] = value;
  if (manifest_.prefork) variables[prefork_variable] = "1";
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

ForkServer::Options ProcessApp::parent_options() const {
  return {.app = manifest_.info.name,
          .command = manifest_.command,
          .environment = environment(nullptr),
          .folder = manifest_.folder,
          .limits = manifest_.limits};
}

std::size_t ProcessApp::room_for_spares() const {
  const std::size_t most = manifest_.info.max_sessions;
  return most > leased_ ? most - leased_ : 0;
}

JsonObject ProcessApp::describe() const {
  JsonObject description;
  if (manifest_.min_warm > 0) description["spares"] = spares_.size();
  if (parent_) description["parent"] = parent_->parent() == 0 ? Json() : Json(parent_->parent());
  return description;
}

// What runs in a session's folder.
std::vector<std::string> ProcessApp::command_in(const std::string& folder) const {
  if (!manifest_.sandbox.is_wanted) return manifest_.command;
  return in_sandbox(manifest_.sandbox, {folder, manifest_.folder, isolation_.hidden()}, manifest_.command);
}

// A process that was not greeted yet, for `opening`, or for a session that is not known yet.
Async<std::unique_ptr<ProcessWorker>> ProcessApp::start(const session::Opening* opening,
                                                        session::WorkerEvents& events, Instant deadline) {
  const Executor& executor = supervisor_.executor();
  try {
    const bool in_folder = opening != nullptr && !opening->folder.empty();
    auto lease = co_await isolation_.lease();
    if (in_folder) co_await isolation_.give(lease, opening->folder);
    if (parent_) {
      ForkServer::Forked forked = co_await parent_->fork(std::move(lease), deadline);
      auto worker = std::make_unique<ProcessWorker>(executor, clock_, log_, std::move(forked.process),
                                                    std::move(forked.ends), &events);
      worker->note_start("fork");
      co_return worker;
    }
    Channels channels = make_channels();
    auto process = co_await supervisor_.spawn({.command = command_in(in_folder ? opening->folder : ""),
                                               .environment = environment(opening),
                                               .folder = in_folder            ? opening->folder
                                                         : opening != nullptr ? "/"
                                                                              : manifest_.folder,
                                               .limits = manifest_.limits,
                                               .lease = std::move(lease),
                                               .forks = false,
                                               .socket = std::move(channels.theirs[0]),
                                               .output = std::move(channels.theirs[1]),
                                               .errors = std::move(channels.theirs[2])},
                                              deadline);
    co_return std::make_unique<ProcessWorker>(executor, clock_, log_, std::move(process), std::move(channels.ours),
                                              &events);
  } catch (const Error& error) {
    Error failed = explain(error, info(), "");
    JsonObject details = failed.details();
    details["worker"] = "not started";
    throw Error(failed.code(), failed.message(), std::move(details)).set_retryable(failed.retryable());
  }
}

Async<std::unique_ptr<ProcessWorker>> ProcessApp::start_spare(session::WorkerEvents& events, Instant deadline) {
  auto worker = co_await start(nullptr, events, deadline);
  std::exception_ptr failed;
  try {
    co_await worker->greet(deadline);
  } catch (...) {
    failed = std::current_exception();
  }
  if (!failed) co_return worker;
  // Nothing may be left of it, also where this coroutine was asked to stop.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await worker->close(session::CloseReason::lost, clock_.instant());
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  rethrow(failed, *worker);
}

// The folder becomes what a worker may have.
Async<void> ProcessApp::prepare_folder(std::string folder) {
  const std::uint64_t most = manifest_.folder_bytes;
  if (most != 0 && (co_await isolation_.look_at(folder, most)).bytes > most) {
    throw Error(ErrorCode::too_large,
                fmt::format("the session's folder holds more than {} MiB (folder_mb of its app), so it gets no "
                            "worker; end the session",
                            most / limits::mebibyte),
                {{"folder_mb", most / limits::mebibyte}});
  }
  if (::mkdir((folder + "/tmp").c_str(), 0700) != 0 && errno != EEXIST) throw io_error(folder + "/tmp", errno);
}

Async<std::unique_ptr<session::Worker>> ProcessApp::open(session::Opening opening, Instant deadline) {
  crashes_.check(info().name);
  const bool has_folder = !opening.folder.empty();
  if (has_folder) co_await prepare_folder(opening.folder);
  for (bool may_be_spare = true;;) {
    auto worker = may_be_spare ? spares_.take(*opening.events) : nullptr;
    const bool was_spare = worker != nullptr;
    if (!was_spare) worker = co_await start(&opening, *opening.events, deadline);
    if (was_spare) worker->note_start("warm");
    worker->hold(lease());
    worker->on_loss([this] { crashes_.note_loss(); });
    if (manifest_.sandbox.is_wanted) worker->note_sandbox();
    if (has_folder && manifest_.folder_bytes != 0) {
      worker->watch_folder(isolation_, opening.folder, manifest_.folder_bytes);
    }
    std::exception_ptr failed;
    try {
      if (was_spare && has_folder) co_await isolation_.give(worker->lease(), opening.folder);
      if (!was_spare) co_await worker->greet(deadline);
      co_await worker->open(opening, manifest_.info.version, deadline);
    } catch (...) {
      failed = std::current_exception();
    }
    if (!failed) {
      acts_on_end_ = worker->acts_on_end();
      co_return worker;
    }
    // A spare may die in the moment it is taken. Where setup may be what it died of, only a new worker tells.
    const bool again = was_spare && worker->died_empty_handed() && to_error(failed).code() != ErrorCode::cancelled;
    may_be_spare = !worker->reached();
    // Nothing may be left of it, also where this coroutine was asked to stop.
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await worker->close(session::CloseReason::lost, std::min(deadline, clock_.instant() + failed_setup_exit));
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    if (!again) rethrow(failed, *worker);
  }
}

// Throws why a worker did not open, in words that help.
void ProcessApp::rethrow(const std::exception_ptr& failed, const ProcessWorker& worker) const {
  try {
    std::rethrow_exception(failed);
  } catch (const Error& error) {
    const std::string last = worker.last_errors();
    const auto refusal = manifest_.sandbox.is_wanted ? sandbox_refusal(last) : std::nullopt;
    if (!refusal) throw explain(error, info(), last);
    const Error no_sandbox(ErrorCode::worker_start_failed, "its sandbox cannot be made: " + *refusal,
                           error.details());
    throw explain(no_sandbox, info(), last);
  }
}

// Held by a worker that serves a session.
std::shared_ptr<void> ProcessApp::lease() {
  ++leased_;
  return {this, [](ProcessApp* app) {
            --app->leased_;
            app->spares_.look();
          }};
}

Async<void> ProcessApp::close() {
  co_await spares_.close();
  if (parent_) co_await parent_->close();
}

}  // namespace sojourn::worker
