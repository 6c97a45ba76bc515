#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "sojourn/flow/strategy.hpp"

// One thread of work within a run: the nodes that run one after the other on a lane, and the jobs that they started.
namespace sojourn::flow {

// Lifetime: shared by the coroutine that runs, its parent while it runs, and whoever may cancel it.
class Job : public std::enable_shared_from_this<Job> {
 public:
  // Cancelling `parent`, where there is one, cancels this.
  static std::shared_ptr<Job> create(Executor lane, std::shared_ptr<Job> parent);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Starts `work` on the lane; `done` is called there when it is over and its frame is gone. Once only.
  void start(Async<void> work, std::function<void(std::exception_ptr)> done);

  // Asks this job and all below it to stop: what they wait for ends with operation_aborted, and no node begins any
  // more. What computes sees is_cancelled(). Threads: safe.
  void cancel();
  bool is_cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  const Executor& lane() const { return lane_; }

  // Whether others on the same threads should have a turn now. Threads: on the lane.
  bool is_turn_over() noexcept { return ++calls_ % calls_per_turn == 0; }
  Async<void> yield();

 private:
  static constexpr unsigned calls_per_turn = 128;

  Job(Executor lane, std::shared_ptr<Job> parent);

  struct Signal;
  class Running;
  Executor lane_;
  std::shared_ptr<Job> parent_;  // until it is over
  std::atomic<bool> cancelled_ = false;
  unsigned calls_ = 0;
  std::unique_ptr<Signal> signal_;  // touched on the lane only
  std::exception_ptr error_;        // likewise

  std::mutex mutex_;
  std::list<std::shared_ptr<Job>> children_;         // those that run
  std::list<std::shared_ptr<Job>>::iterator place_;  // in the parent's, under its mutex
};

// Runs `work` as a job of its own, and resumes on the caller's executor when it is over. Cancel: waits all the same.
Async<void> run_on(Executor lane, Async<void> work);

struct FanOut {
  std::size_t count;
  std::size_t width;             // jobs at once
  bool stop_at_failure = false;  // work that returns false ends the others
};

// Runs `work(job, index)` for each index below the count on jobs below `parent`, and returns when all of them are
// over: the index of the work that ended the others, or nothing. Order:  begins them in the order of their index.
// Cancel: passes it on, waits all the same, and throws cancelled.
Async<std::optional<std::size_t>> fan_out(std::shared_ptr<Job> parent, Strategy& strategy, FanOut shape,
                                          std::function<Async<bool>(Job&, std::size_t)> work);

}  // namespace sojourn::flow
