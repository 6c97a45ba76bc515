#pragma once

#include <cstddef>
#include <deque>
#include <string>

#include "sojourn/base/clock.hpp"

// Stops starting a program that keeps crashing.
namespace sojourn::worker {

// Threads: none; the owner keeps calls apart.
class CrashBreaker {
 public:
  static constexpr Seconds window{60};

  // `most` losses of workers within the window are too many; 0: none ever are.
  CrashBreaker(Clock& clock, std::size_t most) : clock_(clock), most_(most) {}

  // A worker was lost: it crashed, broke the protocol, or was ended for what it did.
  void note_loss();

  // Errors: unavailable, which says when to come again, while `most` workers were lost within the window.
  void check(const std::string& app) const;

 private:
  Clock& clock_;
  std::size_t most_;
  std::deque<Instant> losses_;  // the newest `most_`
};

}  // namespace sojourn::worker
