#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/process_limits.hpp"
#include "sojourn/worker/worker_users.hpp"

// The server's side of the supervisor: starts it, has it start workers, and hears how they end.
//
// The server itself never forks: it starts the supervisor with posix_spawn, and that starts everything else. If the
// supervisor dies, all its workers die with it and count as lost, and another is started at once. That first kills
// what those workers had started, which it knows by their mark.
namespace sojourn::worker {

// How a process ended.
struct ExitStatus {
  std::optional<int> wait_status;   // as of waitpid; nothing when the supervisor itself was lost
  std::uint64_t memory_limit = 0;   // it was killed since it went past that; else 0
  session::WorkerUsage usage = {};  // of its main process, and of children that this waited for

  std::string describe() const;  // "exited with status 3", "was killed by SIGKILL"
  JsonObject details() const;    // {"exit_status": 3} or {"signal": "SIGKILL"}
};

struct SupervisorLink;
struct Packet;

// A worker's main process. Lifetime: keep it as long as you care; letting it go does not end the process.
class Process {
 public:
  pid_t pid() const { return pid_; }

  // Its main process ended. Whatever descends from it is being killed.
  Completion<ExitStatus>& exited() { return exited_; }

  // Nothing that descends from it is left. Where the supervisor was lost, it waits for the next one's first look.
  Completion<bool>& gone() { return gone_; }

  // The id that all that descends from it has, until nothing of that is left; null where it has the server's.
  const std::shared_ptr<WorkerUsers::Lease>& lease() const { return lease_; }

  // Sends `signal` to its process group, unless it has ended.
  void signal(int signal);

 private:
  friend class Supervisor;
  friend struct SupervisorLink;

  std::uint32_t token_ = 0;
  pid_t pid_ = 0;
  Completion<bool> started_;
  Completion<ExitStatus> exited_;
  Completion<bool> gone_;
  std::weak_ptr<SupervisorLink> link_;
  std::shared_ptr<WorkerUsers::Lease> lease_;  // shared with who starts it, and gives it its folder
};

// What to start.
struct Launch {
  std::vector<std::string> command;      // the program is looked for in its PATH
  std::vector<std::string> environment;  // "NAME=value", and nothing else
  std::string folder;                    // the working directory
  ProcessLimits limits;
  std::shared_ptr<WorkerUsers::Lease> lease;  // the id that it gets; null: the server's
  bool forks = false;                         // workers: it is a parent of what is adopted
  Descriptor socket;                          // becomes its descriptor 3
  Descriptor output;
  Descriptor errors;
};

// Threads: one executor.
class Supervisor {
 public:
  struct Options {
    std::string program = "/proc/self/exe";  // its main() calls supervisor_main() when it gets these arguments
    std::vector<std::string> arguments = {"supervise"};
    // Marks its workers. One that is given finds what workers of a server before this one left, so no other live
    // server may have it; 0 draws one that finds only what workers of this object left. At most Mark::most_owner.
    std::uint32_t owner = 0;
    // Where each worker gets a control group, from prepare_cgroups(); "" where none are made.
    std::string cgroups = {};
    UserRange users = {};  // what has one of these ids was left by a server before this one, and is killed
  };

  Supervisor(Executor executor, Clock& clock, const Log& log, Options options);
  Supervisor(Executor executor, Clock& clock, const Log& log);
  ~Supervisor();  // asserts that it was closed
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Starts the supervisor's process unless it runs. Errors: unavailable, also once close() was called.
  void start();

  // Returns once nothing is left of the workers of a server or supervisor before this one.
  // Errors: unavailable, also past `deadline`.
  Async<void> ready(Instant deadline);

  // Starts a process in a session and group of its own; returns once its program runs.
  // Errors: worker_start_failed (with what was tried, and why it failed), also past `deadline`; unavailable when
  //         there is no supervisor, or the machine is short of processes or descriptors. Nothing is left of it then.
  Async<std::shared_ptr<Process>> spawn(Launch launch, Instant deadline);

  // Makes `pid`, which was forked by `parent` and waits to be greeted, a worker like any other: with limits, a mark
  // of its own, and reports of its end. It must have no parent but the supervisor once its parent ended. Where there
  // is a `lease` it is to become that user afterwards, for another's process may only be limited with
  // CAP_SYS_RESOURCE. Errors: worker_start_failed when it is not there, or not of `parent`, or past `deadline`.
  Async<std::shared_ptr<Process>> adopt(std::shared_ptr<Process> parent, pid_t pid, ProcessLimits limits,
                                        std::shared_ptr<WorkerUsers::Lease> lease, Instant deadline);

  // Kills every worker with all its descendants, and ends the supervisor. Idempotent.
  Async<void> close();

  // Of the supervisor's process; 0 when none runs.
  pid_t pid() const;

  const Executor& executor() const { return group_.executor(); }

 private:
  Async<std::shared_ptr<Process>> request(std::uint32_t token, Packet packet,
                                          std::shared_ptr<WorkerUsers::Lease> lease, std::string what,
                                          Instant deadline);
  Async<void> serve_link(std::shared_ptr<SupervisorLink> link);
  Async<void> replace();

  Clock& clock_;
  const Log& log_;
  Options options_;
  TaskGroup group_;
  std::shared_ptr<SupervisorLink> link_;  // shared with the coroutine that serves it; null when none runs
  std::uint32_t last_token_ = 0;
  // Those of parents come from above: without rights a process can only lower a mark, so a fork's must be lower.
  std::uint32_t last_parent_token_ = ~std::uint32_t{0};
  bool closed_ = false;
};

}  // namespace sojourn::worker
