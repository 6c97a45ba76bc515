#pragma once

#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"

// Waiting for something that happens elsewhere on the same executor.
namespace sojourn {

// Something that coroutines wait for. Threads: all calls and all waiters on one executor (or strand).
class Event {
 public:
  Event() = default;
  ~Event();  // asserts that nobody waits
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // Wakes all who wait now; each resumes from its executor's queue, not inside this call.
  void notify_all();

  // Returns at the next notify_all().
  // Cancel: terminal cancellation of the coroutine ends the wait with operation_aborted.
  Async<void> wait();

  // True at the next notify_all(), false at `deadline` if that comes first.
  Async<bool> wait_until(Clock& clock, Instant deadline);

 private:
  struct Waiter;
  std::list<std::shared_ptr<Waiter>> waiters_;  // shared with the coroutine that waits
};

// Returns at `when`.
Async<void> sleep_until(Clock& clock, Instant when);

// A result that arrives once and may be awaited by many. Threads: as Event.
template <class T>
class Completion {
 public:
  bool is_set() const { return value_.has_value() || error_ != nullptr; }

  // The first of set and fail counts; later ones are ignored.
  void set(T value) {
    if (is_set()) return;
    value_.emplace(std::move(value));
    event_.notify_all();
  }
  void fail(std::exception_ptr error) {
    if (is_set()) return;
    error_ = std::move(error);
    event_.notify_all();
  }

  // The value, copied; throws what fail() was given.
  Async<T> wait() {
    while (!is_set()) co_await event_.wait();
    co_return result();
  }

  // Likewise; nothing at `deadline`.
  Async<std::optional<T>> wait_until(Clock& clock, Instant deadline) {
    while (!is_set()) {
      if (!co_await event_.wait_until(clock, deadline)) co_return std::nullopt;
    }
    co_return result();
  }

 private:
  T result() const {
    if (error_) std::rethrow_exception(error_);
    return *value_;
  }

  Event event_;
  std::optional<T> value_;
  std::exception_ptr error_;
};

}  // namespace sojourn
