#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/actor.hpp"
#include "sojourn/runtime/planned_call.hpp"

// What an actor does with calls that are to run at a later time.
namespace sojourn::runtime {

namespace {

session::NewEvent scheduled_event(const LiveCall& call) {
  return {.type = "call.scheduled",
          .actor = call.actor,
          .data = to_text(JsonObject{{"task", call.task.id},
                                     {"function", call.task.function},
                                     {"input", to_hex(sha256(call.task.input))},
                                     {"run_at", format_time(*call.task.run_at)}})};
}

}  // namespace

void Actor::check_schedule(const LiveCall& call) const {
  const std::size_t most = app_->info().queue_limit;
  if (scheduled_.size() + scheduling_.size() >= most) {
    throw Error(ErrorCode::queue_full,
                fmt::format("session {} has {} calls that wait for their time, the most allowed", record().id, most),
                {{"queue_limit", most}});
  }
  if (record().lifetime && record().created_at + *record().lifetime <= *call.task.run_at) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'run_at' must be before the end of the session's lifetime, {}",
                            format_time(record().created_at + *record().lifetime)),
                {{"field", "run_at"}});
  }
  around_.schedule.check_room();
}

Async<void> Actor::schedule(std::shared_ptr<LiveCall> call) {
  check_open();
  check_schedule(*call);
  const auto self = shared_from_this();
  call->task.plan = plan_text(*call);
  scheduling_.push_back(call);
  around_.schedule.enter(1);
  std::exception_ptr failure;
  try {
    session::Step step{.events = {scheduled_event(*call)}, .tasks = {call->task}};
    step.change = [this](store::SessionHead& head) { head.expires_at = expires_at(); };
    co_await commit(std::move(step));
  } catch (...) {
    failure = std::current_exception();
  }
  std::erase(scheduling_, call);
  if (failure) {
    around_.schedule.leave(call->task.id);
    arm();
  } else {
    const Time run_at = *call->task.run_at;
    const bool is_first = scheduled_.empty() || run_at < scheduled_.begin()->first;
    scheduled_.emplace(run_at, call->task.id);
    if (is_first) around_.schedule.add(run_at, record().id);
  }
  call->accepted.set(!failure);
  if (failure) std::rethrow_exception(failure);
}

std::optional<store::ScheduledCall> Actor::next_scheduled() const {
  if (scheduled_.empty()) return std::nullopt;
  return store::ScheduledCall{.task_id = scheduled_.begin()->second, .run_at = scheduled_.begin()->first};
}

bool Actor::has_scheduled(const std::string& task_id) const {
  return std::ranges::find(scheduled_, task_id, &std::pair<const Time, std::string>::second) != scheduled_.end();
}

std::optional<Time> Actor::last_scheduled() const {
  std::optional<Time> last;
  if (!scheduled_.empty()) last = scheduled_.rbegin()->first;
  for (const auto& call : scheduling_) last = std::max(last, call->task.run_at);
  return last;
}

// Whether it was scheduled. It is not any more then.
bool Actor::take_scheduled(const std::string& task_id) {
  const auto place = std::ranges::find(scheduled_, task_id, &std::pair<const Time, std::string>::second);
  if (place == scheduled_.end()) return false;
  scheduled_.erase(place);
  around_.schedule.leave(task_id);
  return true;
}

Async<bool> Actor::cancel_scheduled(std::string task_id, Error why) {
  const auto self = shared_from_this();
  const std::shared_ptr<LiveCall> call = co_await around_.scheduled_call(task_id, record().app);
  if (over_) throw Error(ErrorCode::unavailable, fmt::format("session {} is just leaving memory", record().id));
  if (!call || !take_scheduled(task_id)) co_return false;
  co_await drop(call, std::move(why));
  arm();
  co_return true;
}

// For a session that is over. What cannot be read now is settled when its time has come.
Async<void> Actor::drop_scheduled(Error why) {
  while (!scheduling_.empty()) {
    const std::shared_ptr<LiveCall> call = scheduling_.back();
    co_await call->accepted.wait();
  }
  while (!scheduled_.empty()) {
    const std::string id = scheduled_.begin()->second;
    std::shared_ptr<LiveCall> call;
    try {
      call = co_await around_.scheduled_call(id, record().app);
    } catch (const Error& error) {
      around_.log.error("a scheduled call could not be dropped", {{"task", id}, {"error", error.message()}});
      co_return;
    }
    if (take_scheduled(id) && call) co_await drop(call, why);
  }
}

}  // namespace sojourn::runtime
