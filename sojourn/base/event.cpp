#include "sojourn/base/event.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <functional>

namespace sojourn {

namespace asio = boost::asio;

// Woken once: by the event, by its deadline, or by cancellation.
struct Event::Waiter {
  enum class Outcome { waiting, notified, late, cancelled };

  Outcome outcome = Outcome::waiting;
  std::move_only_function<void(boost::system::error_code)> resume;

  void wake(Outcome how) {
    if (outcome != Outcome::waiting) return;
    outcome = how;
    if (!resume) return;
    auto handler = std::move(resume);
    handler(how == Outcome::cancelled ? asio::error::operation_aborted : boost::system::error_code());
  }
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

Event::~Event() {
  assert(waiters_.empty());
}

void Event::notify_all() {
  for (const auto& waiter : std::exchange(waiters_, {})) waiter->wake(Waiter::Outcome::notified);
}

Async<void> Event::wait() {
  const auto waiter = std::make_shared<Waiter>();
  const auto place = waiters_.insert(waiters_.end(), waiter);
  try {
    co_await suspend(waiter);
  } catch (...) {
    if (waiter->outcome != Waiter::Outcome::notified) waiters_.erase(place);
    throw;
  }
}

Async<bool> Event::wait_until(Clock& clock, Instant deadline) {
  const auto executor = co_await asio::this_coro::executor;
  const auto waiter = std::make_shared<Waiter>();
  const auto place = waiters_.insert(waiters_.end(), waiter);
  const auto alarm = clock.set_alarm(deadline, executor, [waiter] { waiter->wake(Waiter::Outcome::late); });
  try {
    co_await suspend(waiter);
  } catch (...) {
    if (waiter->outcome != Waiter::Outcome::notified) waiters_.erase(place);
    throw;
  }
  if (waiter->outcome == Waiter::Outcome::notified) co_return true;
  waiters_.erase(place);
  co_return false;
}

Async<void> sleep_until(Clock& clock, Instant when) {
  Event never;
  co_await never.wait_until(clock, when);
}

}  // namespace sojourn
