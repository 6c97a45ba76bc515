#include "sojourn/flow/crossing.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

namespace sojourn::flow {

namespace asio = boost::asio;

Async<void> keep_error(Async<void> work, std::exception_ptr& error) {
  try {
    co_await std::move(work);
  } catch (...) {
    error = std::current_exception();
  }
}

void Crossing::arrive(std::exception_ptr error) {
  if (error) {
    const std::scoped_lock lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  if (--left_ > 0) return;
  // Under the lock, so that `home` is there as long as this works on it; and not kept beyond it.
  const std::scoped_lock lock(mutex_);
  if (!home_) return;
  const Executor home = std::exchange(home_, Executor());
  asio::post(home, [self = shared_from_this()] {
    self->over_ = true;
    self->event_.notify_all();
  });
}

void Crossing::leave() {
  const std::scoped_lock lock(mutex_);
  home_ = Executor();
}

void Crossing::interrupt() {
  const std::scoped_lock lock(mutex_);
  if (!home_) return;
  asio::post(home_, [self = shared_from_this()] {
    self->interrupted_ = true;
    self->event_.notify_all();
  });
}

Async<bool> Crossing::wait() {
  const auto self = shared_from_this();
  try {
    while (!over_ && !std::exchange(interrupted_, false)) co_await event_.wait();
  } catch (const boost::system::system_error& aborted) {
    if (aborted.code() != asio::error::operation_aborted) throw;
  }
  co_return over_;
}

Async<bool> Crossing::wait_until(Clock& clock, Instant deadline) {
  const auto self = shared_from_this();
  try {
    while (!over_ && !std::exchange(interrupted_, false) && co_await event_.wait_until(clock, deadline)) {
    }
  } catch (const boost::system::system_error& aborted) {
    if (aborted.code() != asio::error::operation_aborted) throw;
  }
  co_return over_;
}

void Crossing::rethrow() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace sojourn::flow
