#include "sojourn/runtime/recovery.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/runtime/call_record.hpp"
#include "sojourn/session/kept_session.hpp"

namespace sojourn::runtime {

namespace {

using store::SessionStatus;

constexpr Seconds settle_again_after{60};  // where the store refused
constexpr std::string_view overslept = "its time-out passed while it was only in the store";

Error stopped() {
  return Error(ErrorCode::worker_lost, "the server stopped without closing this session");
}

session::NewEvent event(std::string type, const JsonObject& data) {
  return {.type = std::move(type), .actor = "server", .data = to_text(data)};
}

// The last event of a session that is settled as over.
session::NewEvent ended_event(const store::SessionHead& head) {
  JsonObject data{{"reason", head.end_reason}, {"usage", parse_json(store::usage_text(head))}};
  if (head.status == SessionStatus::failed) data["error"] = parse_json(head.error);
  return event(fmt::format("session.{}", store::to_string(head.status)), data);
}

void fail_calls(std::vector<store::TaskRecord> calls, const Error& why, Time now, session::Step& step) {
  const bool cancelled = why.code() == ErrorCode::cancelled;
  for (store::TaskRecord& task : calls) {
    task.status = cancelled ? store::TaskStatus::cancelled : store::TaskStatus::failed;
    task.ended_at = task.updated_at = now;
    task.error = to_text(why.to_json());
    step.events.push_back(failed_event(task, task.status, why));
    step.tasks.push_back(std::move(task));
  }
}

Async<std::vector<store::TaskRecord>> load(store::Store& store, std::vector<store::ScheduledCall> calls) {
  std::vector<store::TaskRecord> tasks;
  for (const store::ScheduledCall& call : calls) {
    if (auto task = co_await store.task(call.task_id)) tasks.push_back(std::move(*task));
  }
  co_return tasks;
}

// What the scheduled calls of a session end with that is over now, or was.
Error why_dropped(const std::string& session_id, SessionStatus status) {
  if (status == SessionStatus::failed) return stopped();
  return Error(ErrorCode::cancelled, fmt::format("session {} {} before the call's time", session_id,
                                                 status == SessionStatus::expired ? "expired" : "ended"));
}

// When to look at a session again. Its scheduled calls keep it from being idle.
std::optional<Time> looked_at(const store::SessionRecord& session, bool has_scheduled) {
  if (!has_scheduled) return session.head.expires_at;
  if (!session.lifetime) return std::nullopt;
  return session.created_at + *session.lifetime;
}

}  // namespace

SessionStatus status_without_worker(const RecoverySurroundings& surroundings, const store::SessionRecord& session,
                                    OpenCalls calls) {
  // A call that was cancelled while it waited, or found no worker, is counted, and leaves no last_call_at.
  const bool was_served = session.head.last_call_at || calls.begun;
  if (!session.app.empty() && was_served && !surroundings.outlives_worker(session.app)) return SessionStatus::failed;
  const Time now = surroundings.clock.now();
  if (session.lifetime && session.created_at + *session.lifetime <= now) return SessionStatus::expired;
  // One that was busy to the last was not idle, however long its call had taken.
  if (!calls.begun && !calls.scheduled && session.head.expires_at && *session.head.expires_at <= now)
    return SessionStatus::expired;
  return SessionStatus::active;
}

// Cleans up what was left open, newest first, and tells of it in `step`.
Async<void> clean_up(const RecoverySurroundings& around, const store::SessionRecord& record,
                     std::vector<store::ResourceRecord> resources, session::Step& step) {
  if (resources.empty()) co_return;
  const std::string folder = co_await around.make_folder(record);
  for (auto resource = resources.rbegin(); resource != resources.rend(); ++resource) {
    JsonObject data{{"id", resource->id}, {"kind", resource->kind}};
    const std::optional<std::string> failure = co_await around.clean_up(*resource, folder);
    if (failure) data["reason"] = to_valid_utf8(*failure);
    step.events.push_back(event(failure ? "resource.leaked" : "resource.released", data));
    step.resources_released.push_back(resource->id);
  }
}

Async<std::optional<Time>> settle_session(const RecoverySurroundings& around, std::string session_id) {
  store::Snapshot snapshot = co_await around.store.adopt(std::move(session_id), around.owner);
  const Time now = around.clock.now();
  const bool was_active = snapshot.record.head.status == SessionStatus::active;
  const OpenCalls open{.begun = !snapshot.open_tasks.empty(), .scheduled = !snapshot.scheduled.empty()};
  const SessionStatus status =
      was_active ? status_without_worker(around, snapshot.record, open) : snapshot.record.head.status;
  session::Step step;
  std::vector<store::TaskRecord> dropped;
  if (status != SessionStatus::active) dropped = co_await load(around.store, std::move(snapshot.scheduled));
  const std::size_t calls = snapshot.open_tasks.size() + dropped.size();
  const std::optional<Time> last_call_at =
      open.begun ? std::optional(snapshot.open_tasks.back().created_at) : snapshot.record.head.last_call_at;
  fail_calls(std::move(snapshot.open_tasks), stopped(), now, step);
  fail_calls(dropped, why_dropped(snapshot.record.id, status), now, step);
  co_await clean_up(around, snapshot.record, std::exchange(snapshot.resources, {}), step);
  const bool ends = was_active && status != SessionStatus::active;
  if (step.events.empty() && !ends) {
    co_return was_active ? looked_at(snapshot.record, open.scheduled) : std::nullopt;
  }

  std::optional<Time> expires_at = snapshot.record.head.expires_at;
  if (open.begun && !open.scheduled && snapshot.record.idle_timeout) {
    expires_at = now + *snapshot.record.idle_timeout;
    if (snapshot.record.lifetime)
      expires_at = std::min(*expires_at, snapshot.record.created_at + *snapshot.record.lifetime);
  }
  step.change = [was_active, ends, status, now, calls, last_call_at, expires_at](store::SessionHead& head) {
    head.call_count += calls;
    head.last_call_at = std::max(head.last_call_at, last_call_at);
    if (was_active) head.expires_at = expires_at;
    if (!ends) return;
    head.status = status;
    head.ended_at = now;
    head.expires_at.reset();
    head.end_reason = status == SessionStatus::failed ? stopped().message() : std::string(overslept);
    if (status == SessionStatus::failed) head.error = to_text(stopped().to_json());
  };
  if (ends) step.closing = ended_event;
  session::KeptSession kept(around.store, around.clock, std::move(snapshot));
  const std::vector<store::TaskRecord> over(step.tasks.end() - static_cast<std::ptrdiff_t>(dropped.size()),
                                            step.tasks.end());
  co_await kept.commit(std::move(step));
  const store::SessionRecord& settled = kept.record();
  if (ends) around.is_over(settled.app, status);
  for (const store::TaskRecord& task : over) around.is_dropped(task);
  co_return settled.head.status == SessionStatus::active ? looked_at(settled, open.scheduled) : std::nullopt;
}

Async<std::optional<Time>> settle_or_log(RecoverySurroundings surroundings, std::string session_id) {
  try {
    co_return co_await settle_session(surroundings, session_id);
  } catch (const Error& error) {
    surroundings.log.error("a session could not be settled",
                           {{"session", session_id}, {"error", to_valid_utf8(error.message())}});
  }
  co_return surroundings.clock.now() + settle_again_after;
}

Async<GoingOn> settle_leftovers(RecoverySurroundings surroundings) {
  const store::Leftovers left = co_await surroundings.store.leftovers();
  std::set<std::string> unsettled;
  for (const store::TaskRecord& task : left.open_tasks) unsettled.insert(task.session_id);
  for (const store::ResourceRecord& resource : left.resources) unsettled.insert(resource.session_id);
  std::set<std::string> scheduled;  // sessions of which nothing active was found yet
  for (const store::ScheduledSession& of : left.scheduled) {
    scheduled.insert(of.session_id);
    surroundings.scheduled(of.calls);
  }
  GoingOn going_on{.scheduled = left.scheduled};
  for (const store::SessionRecord& session : left.active_sessions) {
    const bool is_unsettled = unsettled.contains(session.id);
    const bool has_scheduled = scheduled.erase(session.id) > 0;
    const OpenCalls open{.begun = is_unsettled, .scheduled = has_scheduled};
    if (status_without_worker(surroundings, session, open) != SessionStatus::active) {
      unsettled.insert(session.id);
    } else if (const auto due = looked_at(session, has_scheduled); due && !is_unsettled) {
      going_on.sessions.emplace_back(*due, session.id);
    }
  }
  unsettled.merge(scheduled);
  for (const std::string& id : unsettled) {
    if (const auto due = co_await settle_or_log(surroundings, id)) going_on.sessions.emplace_back(*due, id);
  }
  if (!unsettled.empty()) {
    surroundings.log.info("settled what the last server left open",
                          {{"sessions", unsettled.size()}, {"calls", left.open_tasks.size()}});
  }
  co_return going_on;
}

Async<Waiting> fail_due_calls(RecoverySurroundings around, std::string session_id, Error why) {
  store::Snapshot snapshot = co_await around.store.adopt(std::move(session_id), around.owner);
  const Time now = around.clock.now();
  std::vector<store::ScheduledCall>& due = snapshot.scheduled;
  const auto first_later = std::ranges::find_if(due, [now](const auto& call) { return call.run_at > now; });
  Waiting waiting;
  if (first_later != due.end()) waiting.next_call = first_later->run_at;
  due.erase(first_later, due.end());
  session::Step step;
  fail_calls(co_await load(around.store, std::move(due)), why, now, step);
  const std::vector<store::TaskRecord> over = step.tasks;
  store::SessionRecord& record = snapshot.record;
  std::optional<Time> expires_at = record.head.expires_at;
  if (!waiting.next_call && record.idle_timeout) {
    expires_at = now + *record.idle_timeout;
    if (record.lifetime) expires_at = std::min(*expires_at, record.created_at + *record.lifetime);
  }
  step.change = [calls = over.size(), expires_at](store::SessionHead& head) {
    head.call_count += calls;
    head.expires_at = expires_at;
  };
  session::KeptSession kept(around.store, around.clock, std::move(snapshot));
  co_await kept.commit(std::move(step));
  for (const store::TaskRecord& task : over) around.is_dropped(task);
  waiting.expires_at = looked_at(kept.record(), waiting.next_call.has_value());
  co_return waiting;
}

}  // namespace sojourn::runtime
