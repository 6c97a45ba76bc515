#include <fmt/format.h>

#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/runtime_parts.hpp"

// Calls with a run_at: taken in, followed, cancelled, and queued when their time has come.
namespace sojourn::runtime {

namespace {

constexpr Seconds try_again_after{2};  // where there is no room now

Error bad_run_at(std::string problem) {
  return Error(ErrorCode::invalid_request, std::move(problem), {{"field", "run_at"}});
}

// Whether a call that is due can never be queued.
bool is_hopeless(ErrorCode code) {
  return code == ErrorCode::app_not_found || code == ErrorCode::version_mismatch;
}

// Whether nothing is left to be queued: what was is settled with its session.
bool is_over(ErrorCode code) {
  return code == ErrorCode::session_not_found || code == ErrorCode::session_expired ||
         code == ErrorCode::session_ended || code == ErrorCode::worker_lost;
}

bool passes(ErrorCode code) {
  return code == ErrorCode::queue_full || code == ErrorCode::too_many_sessions || code == ErrorCode::unavailable;
}

}  // namespace

void Runtime::check_run_at(const RunRequest& request) const {
  if (!request.run_at) return;
  if (request.wait) {
    throw bad_run_at("a call with 'run_at' is not waited for: leave 'wait' out, and follow its task");
  }
  const Time latest = parts_->clock.now() + limits::longest_schedule;
  if (*request.run_at > latest) {
    throw bad_run_at(fmt::format("'run_at' is at most {} days ahead, until {}",
                                 std::chrono::floor<std::chrono::days>(limits::longest_schedule).count(),
                                 format_time(latest)));
  }
}

Async<std::shared_ptr<LiveCall>> Runtime::scheduled_call(std::string task_id, std::string app) {
  std::optional<store::TaskRecord> task = co_await parts_->store.task(task_id);
  if (!task || !store::is_scheduled(*task)) co_return nullptr;
  co_return parts_->schedule.call_of(std::move(*task), std::move(app));
}

Async<std::shared_ptr<LiveCall>> Runtime::follow(std::string task_id) {
  for (;;) {
    if (auto live = live_call(task_id)) co_return live;
    const std::uint64_t before = parts_->schedule.departures();
    TaskView stored = co_await task(task_id);
    if (!store::is_scheduled(stored.task)) co_return live_call(task_id);
    // What was read is true still unless some call's time has come meanwhile, which may have been this one's.
    if (parts_->schedule.departures() == before) {
      co_return parts_->schedule.call_of(std::move(stored.task), std::move(stored.app));
    }
  }
}

Async<void> Runtime::cancel_scheduled(store::TaskRecord task) {
  try {
    const std::shared_ptr<Actor> actor = co_await find_session(task.session_id);
    co_await actor->cancel_scheduled(task.id, Error(ErrorCode::cancelled, "the call was cancelled before its time"));
  } catch (const Error& error) {
    if (!is_over(error.code())) throw;
  }
}

// Queues the calls of a session whose time has come, and says when to look at it again.
Async<std::optional<Time>> Runtime::take_up(std::string session_id) {
  std::optional<Error> failure;
  try {
    co_return co_await queue_due(session_id);
  } catch (...) {
    failure = to_error(std::current_exception());
  }
  if (is_over(failure->code())) co_return std::nullopt;
  try {
    if (is_hopeless(failure->code())) co_return co_await fail_due(session_id, *failure);
  } catch (...) {
    failure = to_error(std::current_exception());
  }
  if (!passes(failure->code())) {
    parts_->log.warning("calls whose time has come could not be queued",
                        {{"session", session_id}, {"error", to_valid_utf8(failure->message())}});
  }
  co_return parts_->clock.now() + try_again_after;
}

Async<std::optional<Time>> Runtime::queue_due(std::string session_id) {
  const std::shared_ptr<Actor> actor = co_await find_session(session_id, Purpose::call);
  for (;;) {
    check_serving();
    const std::optional<store::ScheduledCall> next = actor->next_scheduled();
    if (!next || next->run_at > parts_->clock.now()) co_return next ? std::optional(next->run_at) : std::nullopt;
    const std::shared_ptr<LiveCall> call = co_await scheduled_call(next->task_id, actor->record().app);
    if (!actor->has_scheduled(next->task_id)) continue;  // it was cancelled meanwhile
    if (!call) throw Error(ErrorCode::internal_error, fmt::format("task {} is not in the store", next->task_id));
    call->input = parse_json(call->task.input, {.bytes = limits::json_bytes, .depth = limits::json_depth});
    parts_->calls.emplace(call->task.id, call);
    try {
      co_await actor->submit(call, true);
    } catch (...) {
      parts_->calls.erase(call->task.id);
      throw;
    }
  }
}

Async<std::optional<Time>> Runtime::fail_due(std::string session_id, Error why) {
  const AsyncMutex::Turn turn = co_await parts_->adopting.take();
  if (parts_->actors.contains(session_id)) co_return parts_->clock.now();
  const Waiting waiting = co_await fail_due_calls(recovery(*parts_), session_id, std::move(why));
  if (waiting.expires_at) parts_->sleepers.add(*waiting.expires_at, session_id);
  co_return waiting.next_call;
}

}  // namespace sojourn::runtime
