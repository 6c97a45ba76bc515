#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "sojourn/base/event.hpp"

// Waiting on one executor for things that end on others.
namespace sojourn::flow {

// Runs `work`, and keeps what it threw. An exception is then held by nobody but its keeper: one thread hands it on
// whole to another, which frees it.
Async<void> keep_error(Async<void> work, std::exception_ptr& error);

// Lifetime: shared by who waits and by all that must arrive.
class Crossing : public std::enable_shared_from_this<Crossing> {
 public:
  // `home` is the executor of the one coroutine that waits.
  Crossing(Executor home, std::size_t expected) : left_(expected), home_(std::move(home)) {}

  // One of them is over. The first error is kept. Threads: safe.
  void arrive(std::exception_ptr error);

  // Ends the wait that runs, or else the next one, without anything having arrived. Threads: safe.
  void interrupt();

  // True once all have arrived; false when the waiting coroutine was cancelled, at `deadline`, or by interrupt(),
  // before that. It may be waited for again. Threads: on `home`.
  Async<bool> wait();
  Async<bool> wait_until(Clock& clock, Instant deadline);

  // Nobody waits any more: what arrives later reaches `home` no more, which may then end. Threads: safe.
  void leave();

  // Throws the error that was kept, if there is one, once. After all have arrived.
  void rethrow();

 private:
  std::atomic<std::size_t> left_;
  std::mutex mutex_;
  Executor home_;  // none once all have arrived, or nobody waits
  std::exception_ptr error_;
  bool over_ = false;         // on home_
  bool interrupted_ = false;  // on home_
  Event event_;               // on home_
};

// Leaves a crossing as its owner stops waiting, also where its frame is destroyed.
class CrossingPlace {
 public:
  explicit CrossingPlace(std::shared_ptr<Crossing> crossing) : crossing_(std::move(crossing)) {}
  ~CrossingPlace() { crossing_->leave(); }
  CrossingPlace(const CrossingPlace&) = delete;
  CrossingPlace& operator=(const CrossingPlace&) = delete;

 private:
  std::shared_ptr<Crossing> crossing_;  // shared with all that must arrive
};

}  // namespace sojourn::flow
