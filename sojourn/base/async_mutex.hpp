#pragma once

#include <list>
#include <utility>

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
    if (!held_) {
      held_ = true;
      co_return Turn(*this);
    }
    Event mine;
    queue_.push_back(&mine);
    try {
      co_await mine.wait();
    } catch (...) {
      // Either still queued, or the turn was handed over in the same moment and must go on.
      if (std::erase(queue_, &mine) == 0) release();
      throw;
    }
    co_return Turn(*this);
  }

 private:
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
