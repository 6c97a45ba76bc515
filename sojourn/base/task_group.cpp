#include "sojourn/base/task_group.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <utility>

#include "sojourn/base/event.hpp"
#include "sojourn/base/loop_end.hpp"

namespace sojourn {

namespace asio = boost::asio;

struct TaskGroup::State {
  std::list<asio::cancellation_signal> running;
  std::exception_ptr error;
  Event empty;
};

namespace {

// Being asked to stop is no failure.
bool is_cancellation(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& system) {
    return system.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

// Left to itself, co_spawn runs the first part of the work inside spawn() when that is called on the executor.
Async<void> run_from_queue(Async<void> work) {
  co_await asio::post(asio::use_awaitable);
  co_await std::move(work);
}

}  // namespace

TaskGroup::TaskGroup(Executor executor) : executor_(std::move(executor)), state_(std::make_shared<State>()) {}

TaskGroup::~TaskGroup() {
  assert(state_->running.empty() || is_ending(executor_));
}

void TaskGroup::spawn(Async<void> work) {
  const auto place = state_->running.emplace(state_->running.end());
  asio::co_spawn(executor_, run_from_queue(std::move(work)),
                 asio::bind_cancellation_slot(place->slot(), [state = state_, place](std::exception_ptr error) {
                   state->running.erase(place);
                   if (error && !state->error && !is_cancellation(error)) state->error = std::move(error);
                   if (state->running.empty()) state->empty.notify_all();
                 }));
}

void TaskGroup::cancel() {
  // A cancelled coroutine may end at once and erase its signal, so step on before emitting.
  for (auto next = state_->running.begin(); next != state_->running.end();) {
    auto& signal = *next++;
    signal.emit(asio::cancellation_type::terminal);
  }
}

Async<void> TaskGroup::join() {
  const auto state = state_;
  while (!state->running.empty()) co_await state->empty.wait();
  if (state->error) std::rethrow_exception(std::exchange(state->error, nullptr));
}

std::size_t TaskGroup::size() const {
  return state_->running.size();
}

}  // namespace sojourn
