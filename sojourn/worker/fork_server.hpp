#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/worker/process_worker.hpp"
#include "sojourn/worker/supervisor.hpp"

// The parent process of an app with `prefork`, seen from the server (docs/formats/worker-protocol.md, "The fork
// server").
//
// It loads the app once; each worker is a fork of it, which the supervisor adopts. It is started when the first fork
// is needed, and again when it was lost; its forks live on without it. One that cannot be started is tried again
// after a pause that grows.
namespace sojourn::worker {

// Threads: one executor, the supervisor's.
class ForkServer {
 public:
  struct Options {
    std::string app;                       // its name, for the log
    std::vector<std::string> command;      // what to start as the parent,
    std::vector<std::string> environment;  // with what,
    std::string folder;                    // and where
    ProcessLimits limits;                  // of the parent and of each fork
  };

  // A fork that waits to be greeted.
  struct Forked {
    std::shared_ptr<Process> process;
    WorkerEnds ends;
  };

  ForkServer(Supervisor& supervisor, Clock& clock, const Log& log, Options options);
  ~ForkServer();  // asserts that it was closed
  ForkServer(const ForkServer&) = delete;
  ForkServer& operator=(const ForkServer&) = delete;

  // Forks a worker, that has the id of `lease`; null: the server's.
  // Errors: worker_start_failed when the parent does not come up (with what it said, also while it is not tried
  //         again yet), or past `deadline`; unavailable when the machine is short of processes or descriptors.
  Async<Forked> fork(std::shared_ptr<WorkerUsers::Lease> lease, Instant deadline);

  // Of the parent; 0 while there is none.
  pid_t parent() const;

  // Ends the parent; its forks live on. Idempotent.
  Async<void> close();

 private:
  struct Parent;

  Async<std::shared_ptr<Parent>> ready_parent(Instant deadline);
  Async<void> start(std::shared_ptr<Parent> parent, Descriptor control);
  Async<void> read_lines(std::shared_ptr<Parent> parent, Descriptor pipe, bool errors);
  Async<void> read_messages(std::shared_ptr<Parent> parent);
  Async<void> watch_exit(std::shared_ptr<Parent> parent);
  Async<Forked> fork_from(std::shared_ptr<Parent> parent, std::shared_ptr<WorkerUsers::Lease> lease,
                          Instant deadline);
  void take(Parent& parent, const JsonObject& message);
  void lose(const std::shared_ptr<Parent>& parent, const Error& cause);
  void lose_if_hung(const std::shared_ptr<Parent>& parent);
  static void end(Parent& parent);

  Supervisor& supervisor_;
  Clock& clock_;
  const Log& log_;
  Options options_;
  TaskGroup group_;
  AsyncMutex turns_;                // one fork at a time
  std::shared_ptr<Parent> parent_;  // shared with the coroutines that serve it; null while there is none
  bool closed_ = false;

  // Since the last fork that went well.
  int failures_ = 0;
  std::optional<Error> last_failure_;
  Instant next_try_{};
};

}  // namespace sojourn::worker
