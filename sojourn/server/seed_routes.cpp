#include "sojourn/server/seed_routes.hpp"

#include <fmt/format.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/fields.hpp"
#include "sojourn/server/query.hpp"
#include "sojourn/server/run_body.hpp"
#include "sojourn/store/session_folder.hpp"

// The paths of seed 001, below /session/, in its own shapes: bare answers, and errors under `detail`.
namespace sojourn::server {

namespace {

constexpr std::uint64_t most_offset = 1'000'000'000;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

std::string session_text(const runtime::AssessmentSession& session) {
  return to_text(JsonObject{{"session_id", session.session_id},
                            {"created_at", format_time(session.created_at)},
                            {"status", session.status},
                            {"audit_path", session.audit_path},
                            {"user_id", text_or_null(session.user_id)}});
}

std::string audit_text(const runtime::AssessmentAudit& audit) {
  JsonArray attempts;
  for (const store::StepRecord& step : audit.attempts) attempts.emplace_back(step_object(step));
  JsonObject fields{{"session_id", audit.record.id},
                    {"created_at", format_time(audit.record.created_at)},
                    {"status", audit.record.head.stage},
                    {"steps_completed", JsonArray(audit.steps.completed.begin(), audit.steps.completed.end())},
                    {"timing", store::timing_of(audit.steps)}};
  std::string text = to_text(fields);
  text.pop_back();
  text.append(",\"data\":{\"metadata\":").append(store::metadata_of(audit.record, audit.steps));
  text.append(",\"events\":").append(events_json(audit.events));
  JsonArray artifacts;
  for (const auto& [path, attempts_at] : audit.artifacts.paths()) {
    for (const store::Artifact& artifact : attempts_at) artifacts.emplace_back(artifact.to_json());
  }
  text.append(",\"artifacts\":").append(to_text(Json(std::move(artifacts)), {.bytes = 64 * limits::mebibyte}));
  text.append(",\"attempts\":").append(to_text(attempts));
  text.append(",\"head\":")
      .append(
          to_text(JsonObject{{"seq", audit.record.head.chain.seq}, {"hash", to_hex(audit.record.head.chain.hash)}}));
  text += "}}";
  return text;
}

std::string summary_text(const runtime::AssessmentSummary& summary) {
  return to_text(JsonObject{{"session_id", summary.session_id},
                            {"created_at", format_time(summary.created_at)},
                            {"status", summary.status},
                            {"requirement_text", summary.requirement_text},
                            {"jira_epic_id", summary.jira_epic_id},
                            {"total_story_points", summary.total_story_points},
                            {"total_hours", summary.total_hours}});
}

// "session_not_found" as the seed writes it: SessionNotFoundError.
std::string class_name(ErrorCode code) {
  if (code == ErrorCode::stage_not_allowed) return "InvalidSessionStateError";
  std::string name;
  bool starts_word = true;
  for (const char c : info(code).name) {
    if (c == '_') {
      starts_word = true;
      continue;
    }
    name += starts_word ? static_cast<char>(c - 'a' + 'A') : c;
    starts_word = false;
  }
  return name.ends_with("Error") ? name : name + "Error";
}

}  // namespace

bool is_seed_target(std::string_view target) {
  return target.starts_with("/session/") || target.starts_with("/v1/session/");
}

http::Response seed_error_response(const Error& error) {
  http::Response response = error_response(error);
  const bool is_body = error.code() == ErrorCode::invalid_request || error.code() == ErrorCode::invalid_json;
  if (is_body) response.status = 422;  // as the seed's framework says it
  response.content_type = "application/json";
  response.body = to_text(JsonObject{{"detail",
                                      {{"error", class_name(error.code())},
                                       {"message", to_valid_utf8(error.message())},
                                       {"component", "session"},
                                       {"details", error.details()}}}});
  return response;
}

Async<void> Api::seed_create(Ask& ask) {
  Fields fields(ask.request.body.empty() ? JsonObject() : parse_json_object(ask.request.body));
  const runtime::AssessmentSession session =
      co_await service_.create(fields.string("user_id"), ask.caller.name, read_idempotency_key(ask.request));
  co_await ask.responder.send({.body = session_text(session)});
}

Async<void> Api::seed_get(Ask& ask) {
  co_await ask.responder.send({.body = session_text(co_await service_.get(ask.captures.at(0)))});
}

Async<void> Api::seed_audit(Ask& ask) {
  const std::uint64_t from = whole_number(ask.target, "from", 1, INT64_MAX);
  const std::uint64_t limit = whole_number(ask.target, "limit", largest_page, largest_page);
  const runtime::AssessmentAudit audit = co_await service_.get_audit(ask.captures.at(0), from, limit);
  co_await note_read(ask, "audit");
  co_await ask.responder.send({.body = audit_text(audit)});
}

Async<void> Api::seed_list(Ask& ask) {
  const std::uint64_t limit = whole_number(ask.target, "limit", 50, largest_page);
  // Counted from 0, unlike the other numbers of a query.
  const bool starts = ask.target.find("offset").value_or("0") == "0";
  const std::uint64_t offset = starts ? 0 : whole_number(ask.target, "offset", 0, most_offset);
  const runtime::AssessmentList list = co_await service_.list(limit, offset);
  std::string json = "{\"sessions\":[";
  for (const runtime::AssessmentSummary& summary : list.sessions) {
    if (json.back() != '[') json += ',';
    json += summary_text(summary);
  }
  json += fmt::format("],\"total\":{},\"limit\":{},\"offset\":{}}}", list.total, limit, offset);
  co_await ask.responder.send({.body = std::move(json)});
}

}  // namespace sojourn::server
