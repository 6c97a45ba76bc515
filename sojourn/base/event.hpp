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

// Something that coroutines wait for.
// Threads:  all calls and all waiters on one executor (or strand).
// Lifetime: may be destroyed once nobody waits, right after notify_all() too: those it woke do not touch it again.
class Event {
 public:
  Event();
  ~Event();  // asserts that nobody waits
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // Wakes all who wait now; each resumes from its executor's queue, not inside this call.
  void notify_all();

  // Returns at the next notify_all().
  // Cancel: terminal cancellation of the coroutine ends the wait with operation_aborted, unless it was woken before.
  Async<void> wait();

  // True at the next notify_all(), false at `deadline` if that comes first. Cancel: as wait().
  Async<bool> wait_until(Clock& clock, Instant deadline);

 private:
  struct Waiter;
  std::list<Waiter*> waiters_;  // those not woken yet; each is owned by the coroutine that waits
};

// Returns at `when`.
Async<void> sleep_until(Clock& clock, Instant when);

// A result that arrives once and may be awaited by many.
// Threads:  as Event.
// Lifetime: may be destroyed once it is set, also before those who wait have resumed.
template <class T>
class Completion {
 public:
  bool is_set() const { return state_->is_set(); }

  // The first of set and fail counts; later ones are ignored.
  void set(T value) {
    if (is_set()) return;
    state_->value.emplace(std::move(value));
    state_->event.notify_all();
  }
  void fail(std::exception_ptr error) {
    if (is_set()) return;
    state_->error = std::move(error);
    state_->event.notify_all();
  }

  // The value, copied; throws what fail() was given.
  Async<T> wait() {
    const auto state = state_;
    while (!state->is_set()) co_await state->event.wait();
    co_return state->result();
  }

  // Likewise; nothing at `deadline`.
  Async<std::optional<T>> wait_until(Clock& clock, Instant deadline) {
    const auto state = state_;
    while (!state->is_set()) {
      const bool notified = co_await state->event.wait_until(clock, deadline);
      if (!notified && !state->is_set()) co_return std::nullopt;
    }
    co_return state->result();
  }

 private:
  struct State {
    bool is_set() const { return value.has_value() || error != nullptr; }
    T result() const {
      if (error) std::rethrow_exception(error);
      return *value;
    }

    Event event;
    std::optional<T> value;
    std::exception_ptr error;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();  // shared with those who wait
};

}  // namespace sojourn
