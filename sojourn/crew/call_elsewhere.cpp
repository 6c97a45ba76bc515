#include "sojourn/crew/call_elsewhere.hpp"

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <cstdio>
#include <utility>

#include "sojourn/base/task_group.hpp"

namespace sojourn::crew {

namespace asio = boost::asio;

namespace {

// Past any run, whose end comes as a cancel.
constexpr auto without_end = std::chrono::hours(24 * 365);

// An isolated node has no session to change, and nobody to tell.
class Scope final : public session::CallScope {
 public:
  explicit Scope(session::CallRequest request) : request_(std::move(request)) {}

  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json) override {}
  void emit_delta(Json) override {}
  void log(LogLevel, std::string_view, JsonObject) override {}
  void record(std::string, JsonObject) override {}
  Async<void> checkpoint() override { co_return; }
  void end_session() override {}
  Async<Json> call_app(std::string app, std::string, Json) override {
    throw Error(ErrorCode::app_not_found, "an isolated node calls no apps, nor " + app);
    co_return nullptr;
  }
  bool cancel_requested() const override { return cancelled_; }
  Async<void> cancel_wait() override {
    while (!cancelled_) co_await changed_.wait();
  }

  void cancel() {
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  session::CallRequest request_;
  session::Session session_{"isolated", {}};
  bool cancelled_ = false;
  Event changed_;
};

Async<void> converse(session::Worker& worker, Scope& scope, Came& came, Completion<bool>& over) {
  try {
    came.output = co_await worker.call(scope);
  } catch (...) {
    came.failure = to_error(std::current_exception());
  }
  scope.cancel();
  over.set(true);
}

// True when it is over, false when the caller is to stop before.
Async<bool> wait_for(Completion<bool>& over) {
  try {
    co_await over.wait();
  } catch (const boost::system::system_error& aborted) {
    if (aborted.code() != asio::error::operation_aborted) throw;
  }
  co_return over.is_set();
}

// Returns when a process that was killed is gone: nothing of a call goes on once it is over.
Async<void> wait_gone(session::Worker& worker, Instant now) {
  try {
    co_await worker.close(session::CloseReason::lost, now);
  } catch (const Error&) {
    // It was lost, which its call is told.
  }
}

}  // namespace

void CrewProcess::log(LogLevel, std::string_view stream, std::string_view message, JsonObject) {
  // Where nobody takes it, it is lost, as it is for a program of its own.
  std::FILE* const file = stream == "stdout" ? stdout : stderr;
  const std::string line = std::string(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), file);
  std::fflush(file);
}

Async<Came> call_in(CrewProcess& process, Clock& clock, Milliseconds patience, const flow::IsolatedCall& call) {
  Came came;
  Completion<bool> over;
  Scope scope({.task_id = "1",
               .function = call.node,
               .input = call.arguments,
               .outside_changes = {},
               .deadline = clock.instant() + without_end});
  TaskGroup group(co_await asio::this_coro::executor);
  group.spawn(converse(*process.worker, scope, came, over));
  const bool stopped = !co_await wait_for(over);
  bool killed = false;
  // It works on this frame, so it is waited for whatever comes.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  if (stopped) {
    scope.cancel();
    process.worker->cancel();
    killed = !co_await over.wait_until(clock, clock.instant() + patience);
    if (killed) {
      process.worker->kill(Error(ErrorCode::worker_lost, "the worker was killed, since the node did not stop"));
    }
  }
  co_await group.join();
  if (killed) co_await wait_gone(*process.worker, clock.instant());
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  // Nothing tells what the process would do with another call.
  if (came.failure && (came.failure->code() == ErrorCode::worker_lost ||
                       came.failure->code() == ErrorCode::protocol_error || session::is_unreached(*came.failure))) {
    process.is_usable = false;
  }
  came.is_stopped = stopped;
  co_return came;
}

}  // namespace sojourn::crew
