#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/live_call.hpp"
#include "sojourn/runtime/sleepers.hpp"

// The calls that wait for their time.
//
// They lie in the store. In memory is one entry for each session that has some, which is looked at when the first of
// them is due, and what follows a call already.
namespace sojourn::runtime {

// Threads: one executor.
class Schedule {
 public:
  // Queues the calls of a session whose time has come, and returns when to look at it again. Must not throw.
  using TakeUp = std::function<Async<std::optional<Time>>(std::string session_id)>;

  // What takes up calls runs in `group`.
  Schedule(TaskGroup& group, Clock& clock, TakeUp take_up);

  // Looks at the session at `due`.
  void add(Time due, std::string session_id);

  // So many calls more. Errors: unavailable past limits::scheduled_calls.
  void check_room() const;
  void enter(std::size_t calls) { calls_ += calls; }

  // That call waits no more.
  void leave(const std::string& task_id);

  std::size_t calls() const { return calls_; }
  std::uint64_t departures() const { return departures_; }  // calls that left so far

  // The one object for a scheduled call, for all who follow it and for its run.
  std::shared_ptr<LiveCall> call_of(store::TaskRecord task, std::string app);

  // That call is over without having run.
  void finish(const store::TaskRecord& task);

  // Takes up nothing more, and wakes who follows a call.
  void close();

 private:
  void wake();
  Async<void> run();

  TaskGroup& group_;
  TakeUp take_up_;
  Sleepers due_;
  std::unordered_map<std::string, std::weak_ptr<LiveCall>> followed_;  // by task
  std::size_t sweep_at_;  // as many of these: those that nobody follows go
  std::size_t calls_ = 0;
  std::uint64_t departures_ = 0;
  std::size_t takers_ = 0;
  bool closed_ = false;
};

}  // namespace sojourn::runtime
