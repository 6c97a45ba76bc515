#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/fields.hpp"
#include "sojourn/server/versions.hpp"

// What is asked of a session's stage: /sessions/{id}/stage.
namespace sojourn::server {

namespace {

std::string stage_json(const store::SessionRecord& session, const session::Lifecycle& lifecycle) {
  const std::vector<std::string> allowed = lifecycle.allowed_after(session.head.stage);
  JsonObject json{{"stage", session.head.stage}, {"lifecycle", session.lifecycle}};
  // Where any stage may follow there is nothing to list.
  json["allowed"] = session.lifecycle.empty() ? Json() : Json(JsonArray(allowed.begin(), allowed.end()));
  json["final"] = lifecycle.is_final(session.head.stage);
  json["version"] = session.version;
  return to_text(json);
}

}  // namespace

Async<void> Api::get_stage(Ask& ask) {
  const store::SessionRecord session = (co_await runtime_.session(ask.captures.at(0))).record;
  co_await ask.answer_version(session.version, stage_json(session, runtime_.lifecycle_of(session)));
}

Async<void> Api::put_stage(Ask& ask) {
  Fields fields(parse_json_object(ask.request.body));
  runtime::StageMove move{.stage = fields.string("stage"),
                          .reason = fields.string("reason"),
                          .actor = ask.caller.name,
                          .expected_version = expected_version(ask.request)};
  const store::SessionRecord session = (co_await runtime_.move_stage(ask.captures.at(0), std::move(move))).record;
  co_await ask.answer_version(session.version, stage_json(session, runtime_.lifecycle_of(session)));
}

}  // namespace sojourn::server
