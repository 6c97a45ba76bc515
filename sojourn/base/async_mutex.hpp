#pragma once

#include <list>
#include <optional>
#include <utility>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/event.hpp"

namespace sojourn {

// One coroutine at a time, first come first served. Threads: all on one executor.
class AsyncMutex {
 public:
  // Gives the turn to the next when it goes.
  class Turn {
   public:
    explicit Turn(AsyncMutex& mutex) : mutex_(&mutex) {}
    Turn(Turn&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (mutex_ != nullptr) mutex_->release();
    }

   private:
    AsyncMutex* mutex_;
  };

  // Cost: nothing but a flag when nobody holds it. Cancel: the place in the queue is given up.
  Async<Turn> take() {
    if (std::exchange(held_, true)) co_await wait(nullptr, {});
    co_return Turn(*this);
  }

  // Nothing when the turn has not come at `deadline`. Cancel: as take().
  Async<std::optional<Turn>> take_until(Clock& clock, Instant deadline) {
    if (std::exchange(held_, true) && !co_await wait(&clock, deadline)) co_return std::nullopt;
    co_return Turn(*this);
  }

 private:
  // Whether the turn came, as it does without a clock.
  Async<bool> wait(Clock* clock, Instant deadline) {
    Event mine;
    queue_.push_back(&mine);
    bool came = true;
    try {
      if (clock == nullptr) {
        co_await mine.wait();
      } else {
        came = co_await mine.wait_until(*clock, deadline);
      }
    } catch (...) {
      // Either still queued, or the turn was handed over in the same moment and must go on.
      if (std::erase(queue_, &mine) == 0) release();
      throw;
    }
    // Handed over at the very deadline it is taken.
    co_return came || std::erase(queue_, &mine) == 0;
  }

  void release() {
    if (queue_.empty()) {
      held_ = false;
    } else {
      Event* next = queue_.front();
      queue_.pop_front();
      next->notify_all();
    }
  }

  bool held_ = false;
  std::list<Event*> queue_;  // takes no memory while empty, unlike a deque: every live session has one of these
};

}  // namespace sojourn
