#pragma once

#include <exception>
#include <list>
#include <memory>

#include "sojourn/base/async.hpp"

// Work that was started and is waited for. Nothing is spawned outside a group, so nothing outlives its owner.
namespace sojourn {

class TaskGroup {
 public:
  // All work runs on `executor`, which must not run two things at once (a loop or a strand).
  explicit TaskGroup(Executor executor);
  ~TaskGroup();  // asserts that nothing runs
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts `work`; it runs from the executor's queue, not inside this call. The first error of any is kept.
  // Cancel:  work that is cancelled before its first step never begins.
  // Threads: on the executor.
  void spawn(Async<void> work);

  // Asks everything that runs to stop (terminal cancellation). What spawns later is not asked.
  void cancel();

  // Returns when nothing runs, and throws the first error that was kept, once. Work may still be spawned meanwhile.
  Async<void> join();

  std::size_t size() const;
  const Executor& executor() const { return executor_; }

 private:
  struct State;
  Executor executor_;
  std::shared_ptr<State> state_;  // shared with the completions of the work
};

}  // namespace sojourn
