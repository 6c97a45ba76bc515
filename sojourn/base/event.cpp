#include "sojourn/base/event.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <functional>
#include <utility>

namespace sojourn {

namespace asio = boost::asio;

// Woken once: by the event, by its deadline, or by cancellation. Whichever it is takes it off the event's list at
// once, so that nothing which happens before the coroutine resumes can reach it, and the coroutine need not reach the
// event.
struct Event::Waiter {
  enum class Outcome { waiting, notified, late, cancelled };

  explicit Waiter(std::list<Waiter*>& list) : waiters(list), place(list.insert(list.end(), this)) {}
  ~Waiter() { take_off(); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  void take_off() {
    if (place) waiters.erase(*std::exchange(place, std::nullopt));
  }

  void wake(Outcome how) {
    if (outcome != Outcome::waiting) return;
    outcome = how;
    take_off();
    if (!resume) return;
    auto handler = std::move(resume);
    handler(how == Outcome::cancelled ? asio::error::operation_aborted : boost::system::error_code());
  }

  std::list<Waiter*>& waiters;
  std::optional<std::list<Waiter*>::iterator> place;
  Outcome outcome = Outcome::waiting;
  std::move_only_function<void(boost::system::error_code)> resume;
};

namespace {

// Suspends the calling coroutine until `waiter.wake`.
template <class Waiter>
Async<void> suspend(std::shared_ptr<Waiter> waiter) {
  return asio::async_initiate<const asio::use_awaitable_t<>&, void(boost::system::error_code)>(
      [waiter](auto handler) {
        if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
          slot.assign([weak = std::weak_ptr(waiter)](asio::cancellation_type) {
            if (const auto strong = weak.lock()) strong->wake(Waiter::Outcome::cancelled);
          });
        }
        waiter->resume = [handler = std::move(handler)](boost::system::error_code error) mutable {
          const auto executor = asio::get_associated_executor(handler);
          asio::post(executor, [handler = std::move(handler), error]() mutable { std::move(handler)(error); });
        };
      },
      asio::use_awaitable);
}

}  // namespace

Event::Event() = default;

Event::~Event() {
  assert(waiters_.empty());
}

void Event::notify_all() {
  while (!waiters_.empty()) waiters_.front()->wake(Waiter::Outcome::notified);
}

Async<void> Event::wait() {
  const auto waiter = std::make_shared<Waiter>(waiters_);
  co_await suspend(waiter);
}

Async<bool> Event::wait_until(Clock& clock, Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  const auto waiter = std::make_shared<Waiter>(waiters_);
  const auto alarm = clock.set_alarm(deadline, executor, [weak = std::weak_ptr(waiter)] {
    if (const auto strong = weak.lock()) strong->wake(Waiter::Outcome::late);
  });
  co_await suspend(waiter);
  co_return waiter->outcome == Waiter::Outcome::notified;
}

Async<void> sleep_until(Clock& clock, Instant when) {
  Event never;
  co_await never.wait_until(clock, when);
}

}  // namespace sojourn
