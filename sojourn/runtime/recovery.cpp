#include "sojourn/runtime/recovery.hpp"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "sojourn/base/error.hpp"
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

void fail_open_calls(std::vector<store::TaskRecord> open, Time now, session::Step& step) {
  for (store::TaskRecord& task : open) {
    task.status = store::TaskStatus::failed;
    task.ended_at = task.updated_at = now;
    task.error = to_text(stopped().to_json());
    step.events.push_back(event("call.failed", {{"task", task.id},
                                                {"function", task.function},
                                                {"code", info(stopped().code()).wire},
                                                {"message", stopped().message()}}));
    step.tasks.push_back(std::move(task));
  }
}

}  // namespace

SessionStatus status_without_worker(const RecoverySurroundings& surroundings, const store::SessionRecord& session,
                                    bool has_open_tasks) {
  // A call that was cancelled while it waited is counted, and leaves no last_call_at.
  const bool was_served = session.head.last_call_at || has_open_tasks;
  if (!session.app.empty() && was_served && !surroundings.outlives_worker(session.app)) return SessionStatus::failed;
  const Time now = surroundings.clock.now();
  if (session.lifetime && session.created_at + *session.lifetime <= now) return SessionStatus::expired;
  // One that was busy to the last was not idle, however long its call had taken.
  if (!has_open_tasks && session.head.expires_at && *session.head.expires_at <= now) return SessionStatus::expired;
  return SessionStatus::active;
}

Async<std::optional<Time>> settle_session(const RecoverySurroundings& around, std::string session_id) {
  store::Snapshot snapshot = co_await around.store.adopt(std::move(session_id), around.owner);
  const Time now = around.clock.now();
  const bool was_active = snapshot.record.head.status == SessionStatus::active;
  const SessionStatus status = was_active
                                   ? status_without_worker(around, snapshot.record, !snapshot.open_tasks.empty())
                                   : snapshot.record.head.status;
  session::Step step;
  const std::size_t calls = snapshot.open_tasks.size();
  const std::optional<Time> last_call_at =
      calls > 0 ? std::optional(snapshot.open_tasks.back().created_at) : snapshot.record.head.last_call_at;
  fail_open_calls(std::move(snapshot.open_tasks), now, step);
  const std::vector<store::ResourceRecord> resources = std::exchange(snapshot.resources, {});
  const std::string folder = resources.empty() ? "" : co_await around.make_folder(snapshot.record);
  for (auto resource = resources.rbegin(); resource != resources.rend(); ++resource) {
    JsonObject data{{"id", resource->id}, {"kind", resource->kind}};
    const std::optional<std::string> failure = co_await around.clean_up(*resource, folder);
    if (failure) data["reason"] = to_valid_utf8(*failure);
    step.events.push_back(event(failure ? "resource.leaked" : "resource.released", data));
    step.resources_released.push_back(resource->id);
  }
  const bool ends = was_active && status != SessionStatus::active;
  if (step.events.empty() && !ends) {
    co_return was_active ? snapshot.record.head.expires_at : std::nullopt;
  }

  std::optional<Time> expires_at = snapshot.record.head.expires_at;
  if (calls > 0 && snapshot.record.idle_timeout) {
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
  co_await kept.commit(std::move(step));
  const store::SessionRecord& settled = kept.record();
  if (ends) around.is_over(settled.app, status);
  co_return settled.head.expires_at;
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

Async<std::vector<std::pair<Time, std::string>>> settle_leftovers(RecoverySurroundings surroundings) {
  const store::Leftovers left = co_await surroundings.store.leftovers();
  std::set<std::string> unsettled;
  for (const store::TaskRecord& task : left.open_tasks) unsettled.insert(task.session_id);
  for (const store::ResourceRecord& resource : left.resources) unsettled.insert(resource.session_id);
  std::vector<std::pair<Time, std::string>> going_on;
  for (const store::SessionRecord& session : left.active_sessions) {
    const bool is_unsettled = unsettled.contains(session.id);
    if (status_without_worker(surroundings, session, is_unsettled) != SessionStatus::active) {
      unsettled.insert(session.id);
    } else if (session.head.expires_at && !is_unsettled) {
      going_on.emplace_back(*session.head.expires_at, session.id);
    }
  }
  for (const std::string& id : unsettled) {
    if (const std::optional<Time> due = co_await settle_or_log(surroundings, id)) going_on.emplace_back(*due, id);
  }
  if (!unsettled.empty()) {
    surroundings.log.info("settled what the last server left open",
                          {{"sessions", unsettled.size()}, {"calls", left.open_tasks.size()}});
  }
  co_return going_on;
}

}  // namespace sojourn::runtime
