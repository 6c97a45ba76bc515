#pragma once

#include <cstddef>
#include <list>

#include "sojourn/base/event.hpp"

namespace sojourn::crew {

// So many coroutines at once, first come first served. Threads: all on one executor.
class Places {
 public:
  explicit Places(std::size_t most) : most_(most) {}

  // Gives the place to the next when it goes.
  class Place {
   public:
    explicit Place(Places& places) : places_(places) { ++places_.taken_; }
    ~Place() {
      --places_.taken_;
      places_.wake_next();
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    Places& places_;
  };

  // Returns when there is a place, to be taken before anything else is awaited. Cancel: gives up the turn.
  Async<void> wait() {
    if (queue_.empty() && taken_ < most_) co_return;
    Turn turn(*this);
    while (queue_.front() != &turn || taken_ >= most_) co_await turn.event.wait();
  }

 private:
  struct Turn {
    explicit Turn(Places& in) : places(in), place(in.queue_.insert(in.queue_.end(), this)) {}
    ~Turn() {
      places.queue_.erase(place);
      places.wake_next();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    Places& places;
    std::list<Turn*>::iterator place;
    Event event;
  };

  void wake_next() {
    if (!queue_.empty() && taken_ < most_) queue_.front()->event.notify_all();
  }

  const std::size_t most_;
  std::size_t taken_ = 0;
  std::list<Turn*> queue_;  // each is on the frame of who waits
};

}  // namespace sojourn::crew
