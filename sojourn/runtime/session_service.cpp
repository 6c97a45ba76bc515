#include "sojourn/runtime/session_service.hpp"

#include <utility>

namespace sojourn::runtime {

namespace {

// The first characters of a text, which may be more bytes.
std::string first_characters(std::string_view text, std::size_t count) {
  std::size_t end = 0;
  while (end < text.size() && count > 0) {
    ++end;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    --count;
  }
  return std::string(text.substr(0, end));
}

Json value_of(const store::Snapshot& session, const JsonObject& metadata, const std::string& name) {
  if (const auto found = session.state.find(name); found != session.state.end()) return parse_json(found->second);
  const Json* const given = metadata.if_contains(name);
  return given == nullptr ? Json() : *given;
}

}  // namespace

AssessmentSession SessionService::view(const store::SessionRecord& record) const {
  return {.session_id = record.id,
          .created_at = record.created_at,
          .status = record.head.stage,
          .audit_path = audit_path_(record.id),
          .user_id = record.user};
}

Async<AssessmentSession> SessionService::create(std::string user_id, std::string actor, std::string idempotency_key) {
  const SessionView created = co_await runtime_.create_session({.idempotency_key = std::move(idempotency_key),
                                                                .actor = std::move(actor),
                                                                .user = std::move(user_id),
                                                                .lifecycle = "impact-assessment"});
  co_return view(created.record);
}

Async<AssessmentSession> SessionService::get(std::string session_id) {
  co_return view((co_await runtime_.session(std::move(session_id))).record);
}

Async<AssessmentAudit> SessionService::get_audit(std::string session_id, std::uint64_t from_event,
                                                 std::size_t limit) {
  AssessmentAudit audit{.record = (co_await runtime_.stored(session_id)).record};
  audit.steps = co_await store_.step_summary(session_id);
  audit.attempts = co_await store_.steps(session_id, 1, limit);
  co_await store::read_manifest(store_, session_id, 1, audit.artifacts);
  audit.events = co_await store_.events(session_id, from_event, limit);
  co_return audit;
}

Async<AssessmentSession> SessionService::update_status(std::string session_id, std::string status, std::string reason,
                                                       std::string actor) {
  const SessionView moved = co_await runtime_.move_stage(
      std::move(session_id), {.stage = std::move(status), .reason = std::move(reason), .actor = std::move(actor)});
  co_return view(moved.record);
}

Async<AssessmentSummary> SessionService::summary(store::SessionRecord record) {
  AssessmentSummary summary{.session_id = record.id, .created_at = record.created_at, .status = record.head.stage};
  const std::optional<store::Snapshot> stored = co_await store_.load(record.id);
  if (!stored) co_return summary;
  const JsonObject metadata = parse_json_object(stored->record.metadata);
  summary.requirement_text = value_of(*stored, metadata, "requirement_text");
  if (summary.requirement_text.is_string()) {
    summary.requirement_text = first_characters(summary.requirement_text.get_string(), 200);
  }
  summary.jira_epic_id = value_of(*stored, metadata, "jira_epic_id");
  summary.total_story_points = value_of(*stored, metadata, "total_story_points");
  summary.total_hours = value_of(*stored, metadata, "total_hours");
  co_return summary;
}

Async<AssessmentList> SessionService::list(std::size_t limit, std::uint64_t offset) {
  AssessmentList list{.total = co_await store_.count({})};
  const std::optional<std::string> cursor = co_await store_.cursor_after({}, offset);
  if (!cursor) co_return list;
  SessionViews page = co_await runtime_.sessions({}, *cursor, limit);
  for (SessionView& session : page.sessions) list.sessions.push_back(co_await summary(std::move(session.record)));
  co_return list;
}

}  // namespace sojourn::runtime
