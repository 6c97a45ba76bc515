#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/device/device_context.hpp"
#include "sojourn/device/executor_context.hpp"
#include "sojourn/device/file_system_context.hpp"
#include "sojourn/device/session_errors.hpp"
#include "sojourn/device/session_metrics.hpp"
#include "sojourn/device/step.hpp"
#include "sojourn/session/resource_tracker.hpp"
#include "sojourn/session/session.hpp"

// Work on one board from its beginning to its end: state, deployed methods, threads, set-up and teardown, temporary
// files and other resources, of which nothing stays on the board when the session ends (seed 002).
namespace sojourn::device {

struct ResourceUsageStats {
  std::size_t total_resources = 0;
  std::int64_t total_resource_cost = 0;
  std::map<std::string, std::size_t> resources_by_type;
  std::size_t background_threads = 0;  // that run, as far as is known
  std::size_t deployed_methods = 0;
};

// Threads: one executor. Lifetime: its board and clock outlive it; end it before it is destroyed.
class DeviceSession {
 public:
  struct Options {
    bool resource_tracking = true;
    Milliseconds cleanup_timeout =
        Milliseconds(30'000);           // of one resource, and of one teardown step that has no other
    const Log* log = nullptr;           // gets a line for each resource
    SessionMetrics* metrics = nullptr;  // count them
  };

  DeviceSession(std::string id, Board& board, Capabilities capabilities, Executor executor, Clock& clock,
                Options options);
  ~DeviceSession();  // asserts that it was ended or abandoned
  DeviceSession(const DeviceSession&) = delete;
  DeviceSession& operator=(const DeviceSession&) = delete;

  const std::string& id() const { return state_.id(); }
  Time created_at() const { return created_at_; }
  Instant last_use() const { return last_use_; }  // when an operation began, or the session
  bool is_active() const { return active_; }
  Board& board() { return board_; }
  Clock& clock() { return clock_; }
  const Capabilities& capabilities() const { return capabilities_; }
  DeviceContext& device_context() { return device_; }
  FileSystemContext& files() { return files_; }

  // What operations keep between them, in the host's memory.
  session::Session& state() { return state_; }

  // Resources of the caller's own; with tracking off, whoever acquires one must release it.
  // Errors: those of ResourceTracker::add; session_ended.
  void add_resource(session::Resource resource);
  bool release_resource(std::string_view id) { return resources_.release(id); }
  ResourceUsageStats resource_stats() const;

  // Errors: session_ended; already_exists for a name; invalid_request for a set-up after the first operation.
  void add_setup(Step step);
  void add_teardown(Step step);

  // Runs a step now, whether it has run or not, and returns what it printed; an ignored failure is told all the same.
  // Set-up is not run for it before the first operation, but again before it where the board began anew since.
  // Errors: not_found; as exec().
  Async<std::string> run_step(std::string name, Instant deadline);

  // Runs code, an expression, or a function that stays deployed until the session ends; set-up runs before the first.
  // After the board has started anew, set-up runs again, threads are started and functions deployed again: what is
  // declared is restored, what operations did is not repeated. Errors: session_ended; those of Board; call_timeout
  // where the turn has not come by the deadline. Order:  one at a time.
  Async<std::string> exec(std::string code, Instant deadline, RunOptions options = {});
  Async<Value> eval(std::string expression, Instant deadline, RunOptions options = {});
  Async<Value> call(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options = {});

  // Calls it within its own time-out, and alone where it is exclusive. Errors: as call(); those of
  // BoardThreads::hold.
  Async<Value> run(Task task, std::vector<Value> arguments, Instant deadline, RunOptions options = {});

  // Starts `function` in a thread of the board, which is stopped when the session ends, and returns the thread's id.
  // Errors: as call(); those of BoardThreads::start.
  Async<std::string> start_thread(Function function, std::vector<Value> arguments, Instant deadline,
                                  ThreadOptions options = {});

  // Errors: as call(); those of BoardThreads::stop.
  Async<void> stop_thread(std::string id, Instant deadline);

  // Looks after what is declared while there is no operation: opens the wire again where it was lost, runs what runs
  // by itself and restores threads where the board started anew, and returns the threads of which there is news
  // (BoardThreads::check). It is no use of the session, and gives way to operations. Errors: as exec().
  Async<std::vector<BackgroundThreadInfo>> watch(Instant deadline);
  bool wants_watch() const;  // whether there is anything to look after

  const ExecutorContext& executor_context() const { return executors_; }
  std::string allocate_thread_id(std::string_view method) { return executors_.allocate_thread_id(method); }

  // Lends `operation` the board in the session's turn, set up as for exec(): for what Board has besides, or for
  // several runs that belong together. Errors: as exec(); what `operation` throws.
  Async<void> use(std::function<Async<void>(Board&)> operation, Instant deadline);

  // Tears down, cleans up the resources newest first and forgets the methods, each until its own deadline, all of
  // them tried. The session is over whatever fails. Idempotent. Errors: ResourceCleanupError with every failure.
  Async<void> end();

  // Is over at once, without a word to the board; returns the ids of what was left there.
  std::vector<std::string> abandon();

 private:
  void require_active() const;
  void note_registered(std::string_view kind, std::string_view resource_id, std::int64_t cost) const;
  Async<void> deploy(Function function, Instant deadline);
  Async<AsyncMutex::Turn> take_turn(Instant deadline);
  Async<void> prepare(Instant deadline, bool auto_run_only = false);
  Async<std::string> run_now(Step step, Instant deadline);
  Async<std::string> run_on_board(Step step, Instant deadline);
  Async<Value> deploy_and_call(Task task, std::vector<Value> arguments, Instant deadline, RunOptions options);
  Async<void> deploy_and_start(std::string id, Function function, std::vector<Value> arguments, ThreadOptions options,
                               Instant deadline);
  // `attempt` and `operation` return what is awaited; for a second attempt they are asked again.
  template <class F>
  static std::invoke_result_t<F&> twice_unless_begun(F attempt);
  template <class F>
  std::invoke_result_t<F&> when_prepared(Instant deadline, F operation);
  template <class F>
  std::invoke_result_t<F&> prepare_and_do(F& operation, Instant deadline);
  template <class T>
  Async<T> run_alone(Async<T> operation, Instant deadline);
  Async<void> stop_for_good(std::string id);
  Async<void> tear_down(JsonArray& failures);

  session::Session state_;
  Board& board_;
  Capabilities capabilities_;
  Clock& clock_;
  Options options_;
  Time created_at_;
  Instant last_use_;
  bool active_ = true;
  std::uint64_t used_boot_ = 0;      // the last boot in which anything ran; boots count from 1
  std::uint64_t prepared_boot_ = 0;  // that in which all set-up ran
  ExecutorContext executors_;
  session::ResourceTracker resources_;
  Steps setups_;
  Steps teardowns_;
  AsyncMutex turn_;
  DeviceContext device_;
  FileSystemContext files_;
};

}  // namespace sojourn::device
