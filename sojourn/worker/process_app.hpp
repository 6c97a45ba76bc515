#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/log.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/crash_breaker.hpp"
#include "sojourn/worker/fork_server.hpp"
#include "sojourn/worker/isolation.hpp"
#include "sojourn/worker/manifest.hpp"
#include "sojourn/worker/process_worker.hpp"
#include "sojourn/worker/supervisor.hpp"
#include "sojourn/worker/warm_pool.hpp"

// An app that is a program: each of its sessions is served by a process of its own, which is started for it, forked
// from a parent that has loaded the app, or waited for it among the spares.
namespace sojourn::worker {

// Threads: one executor, the supervisor's. Lifetime: longer than its workers.
class ProcessApp final : public session::App {
 public:
  ProcessApp(Manifest manifest, Supervisor& supervisor, Isolation& isolation, Clock& clock, const Log& log);

  const session::AppInfo& info() const override { return manifest_.info; }
  const Manifest& manifest() const { return manifest_; }

  // Begins to keep spare workers, where the manifest says so.
  void keep_warm() { spares_.begin(); }

  // Errors: those of App::open; details hold how the program ended and its last lines on standard error ("stderr").
  //         Nothing is left of it then.
  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant deadline) override;

  bool acts_on_end() const override { return acts_on_end_; }

  // {"spares": how many wait, "parent": the id of the process that sessions are forked from}
  JsonObject describe() const override;

  // Ends the spares and the parent. Idempotent.
  Async<void> close();

 private:
  Async<std::unique_ptr<ProcessWorker>> start(const session::Opening* opening, session::WorkerEvents& events,
                                              Instant deadline);
  Async<std::unique_ptr<ProcessWorker>> start_spare(session::WorkerEvents& events, Instant deadline);
  [[noreturn]] void rethrow(const std::exception_ptr& failed, const ProcessWorker& worker) const;
  Async<void> prepare_folder(std::string folder);
  std::vector<std::string> command_in(const std::string& folder) const;
  std::shared_ptr<void> lease();
  ForkServer::Options parent_options() const;
  std::size_t room_for_spares() const;
  std::vector<std::string> environment(const session::Opening* opening) const;

  Manifest manifest_;
  Supervisor& supervisor_;
  Isolation& isolation_;
  Clock& clock_;
  const Log& log_;
  std::optional<ForkServer> parent_;  // of an app with prefork
  WarmPool spares_;
  CrashBreaker crashes_;
  bool acts_on_end_ = true;  // as the worker that was opened last said, and while none was
  std::size_t leased_ = 0;   // workers that serve a session
};

}  // namespace sojourn::worker
