#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/runtime/actor.hpp"

// How an actor's session comes to its end, or to a pause.
namespace sojourn::runtime {

using store::SessionStatus;

namespace {

// What the calls fail with that an ending leaves without their turn.
Error why_dropped(const std::string& session_id, const Ending& ending) {
  if (ending.error) return *ending.error;
  return Error(ErrorCode::cancelled, fmt::format("session {}: {}", session_id, ending.reason));
}

}  // namespace

Async<void> Actor::end(std::string actor) {
  check_open();
  const auto self = shared_from_this();
  ending_ = Ending{.reason = "ended by request", .actor = std::move(actor)};
  serving_.stop_call(Error(ErrorCode::cancelled, fmt::format("session ended: {}", record().id)));
  wake();
  co_await left_.wait();
}

Async<void> Actor::leave(Error why) {
  if (over_) co_return;  // it was put to rest since the runtime asked
  const auto self = shared_from_this();
  if (!ending_ || ending_->status == SessionStatus::active) {
    ending_ = Ending{.status = outlives_worker() ? SessionStatus::active : SessionStatus::failed,
                     .reason = why.message(),
                     .error = Error(ErrorCode::worker_lost, why.message()),
                     .close_reason = session::CloseReason::server_stopping};
    wake();
  }
  serving_.stop_call(std::move(why));  // also one that outlives its session
  co_await left_.wait();
}

// The worker is gone: a session that can go on without it does, any other has failed.
void Actor::lose_worker() {
  if (over_ || ending_) return;
  const Error cause = *serving_.lost_cause();
  const bool goes_on = app_->info().recover;
  ending_ = Ending{.status = goes_on ? SessionStatus::active : SessionStatus::failed,
                   .reason = cause.message(),
                   .error = Error(ErrorCode::worker_lost, cause.message(), cause.details()),
                   .close_reason = session::CloseReason::lost,
                   .leaves_memory = !goes_on};
  wake();
}

// Another server owns the session: what is here of it is stale, and goes without a trace in the store.
void Actor::lose_session(const Error& why) {
  if (fenced_) return;
  fenced_ = why;
  around_.log.warning("another server owns a session now", {{"session", record().id}});
  serving_.abandon(why);
  ending_ = Ending{.status = SessionStatus::active,
                   .reason = why.message(),
                   .error = why,
                   .close_reason = session::CloseReason::lost};
  serving_.stop_call(why);
  wake();
}

// Does what `ending_` says.
Async<void> Actor::finish() {
  const Ending ending = *ending_;
  const bool pause = !ending.leaves_memory;
  if (pause) {
    ending_.reset();  // from here on it may be asked to end for good
  } else {
    co_await empty_queue(why_dropped(record().id, ending));
  }
  if (ending.status != SessionStatus::active) co_await drop_scheduled(why_dropped(record().id, ending));
  if (is_to_wake_for(ending)) co_await wake_to_end(ending);
  co_await serving_.close(ending.close_reason, around_.serving.clock.instant() + around_.close_grace);
  if (!pause) co_await end_durably(ending);
}

// Whether it sleeps and its app would be told of this end were it awake.
bool Actor::is_to_wake_for(const Ending& ending) const {
  return ending.status == SessionStatus::ended && app_ && app_->info().recover && !serving_.has_worker() &&
         serving_.was_called() && app_->acts_on_end();
}

// It takes no place among the sessions of its app for that, so one does at a time.
Async<void> Actor::wake_to_end(const Ending& ending) {
  Clock& clock = around_.serving.clock;
  const AsyncMutex::Turn turn = co_await around_.waking_to_end.take();
  std::optional<Error> failure;
  try {
    co_await serving_.warm_up(around_.close_grace);
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) note_failed_start(*failure);
  co_await serving_.close(ending.close_reason, clock.instant() + around_.close_grace);
}

void Actor::note_failed_start(const Error& error) {
  kept_->journal().append(
      {.type = "worker.start_failed",
       .actor = "server",
       .data = to_text(JsonObject{{"code", info(error.code()).wire}, {"message", to_valid_utf8(error.message())}}),
       .time = around_.serving.clock.now()});
}

Async<void> Actor::end_durably(const Ending& ending) {
  session::Step step;
  if (ending.status != SessionStatus::active) {
    step.closing = [&ending](const store::SessionHead& head) -> session::NewEvent {
      JsonObject data{{"reason", head.end_reason}, {"usage", parse_json(store::usage_text(head))}};
      if (ending.error) data["error"] = ending.error->to_json();
      return {.type = fmt::format("session.{}", store::to_string(ending.status)),
              .actor = ending.actor,
              .data = to_text(data)};
    };
    step.change = [&ending, now = around_.serving.clock.now()](store::SessionHead& head) {
      head.status = ending.status;
      head.ended_at = now;
      head.end_reason = to_valid_utf8(ending.reason);
      head.expires_at.reset();
      if (ending.error) head.error = to_text(ending.error->to_json());
    };
  }
  const bool durable = has_nothing_to_commit(step) ||
                       co_await commit_or_log(std::move(step), "the end of a session could not be made durable");
  over_ = true;
  // Calls that the store has as scheduled still leave when they are settled there.
  if (!durable && !fenced_) {
    around_.schedule.enter(static_cast<std::size_t>(std::ranges::count(owed_, 0u, &store::TaskRecord::seq)));
  }
  if (durable && ending.status != SessionStatus::active) ++counts_.sessions_over[ending.status];
  around_.on_leave(record().id, std::nullopt);
  if (durable) {
    left_.set(true);
  } else if (fenced_) {
    left_.fail(std::make_exception_ptr(Error(*fenced_)));
  } else {
    left_.fail(std::make_exception_ptr(
        Error(ErrorCode::io_error,
              fmt::format("the end of session {} could not be made durable; its worker is closed", record().id))));
  }
}

Async<void> Actor::empty_queue(Error why) {
  while (!queue_.empty()) {
    const Item item = take_next();
    if (item.action) co_await item.action();
    if (item.call && co_await item.call->accepted.wait()) co_await drop(item.call, why);
  }
}

}  // namespace sojourn::runtime
