#include <fmt/format.h>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/query.hpp"
#include "sojourn/server/run_body.hpp"

// What is asked of sessions: /sessions and their state and events.
namespace sojourn::server {

namespace {

store::SessionQuery session_query(const http::Target& target) {
  store::SessionQuery query;
  if (const auto status = target.find("status")) {
    for (const auto candidate : {store::SessionStatus::active, store::SessionStatus::ended,
                                 store::SessionStatus::expired, store::SessionStatus::failed}) {
      if (store::to_string(candidate) == *status) query.status = candidate;
    }
    if (!query.status) {
      throw Error(ErrorCode::invalid_request, "'status' must be active, ended, expired or failed",
                  {{"field", "status"}});
    }
  }
  query.app = target.find("app").value_or("");
  query.user = target.find("user_id").value_or("");
  query.stage = target.find("stage").value_or("");
  query.id_text = target.find("id").value_or("");
  query.created_from = time_of(target, "created_from");
  query.created_before = time_of(target, "created_before");
  for (const auto& [key, value] : target.query) {
    if (key.starts_with("label.")) query.labels.emplace(key.substr(6), value);
  }
  return query;
}

bool wants_total(const http::Target& target) {
  const std::string_view total = target.find("total").value_or("false");
  if (total == "true" || total == "false") return total == "true";
  throw Error(ErrorCode::invalid_request, "'total' must be true or false", {{"field", "total"}});
}

}  // namespace

Async<void> Api::create_session(Ask& ask) {
  runtime::RunRequest request = read_session_body(ask.request.body);
  request.idempotency_key = read_idempotency_key(ask.request);
  request.actor = ask.caller.name;
  co_await ask.answer(201, session_json(co_await runtime_.create_session(std::move(request))));
}

Async<void> Api::list_sessions(Ask& ask) {
  const std::uint64_t limit = whole_number(ask.target, "limit", default_page, largest_page);
  const store::SessionQuery query = session_query(ask.target);
  const std::optional<std::uint64_t> total =
      wants_total(ask.target) ? std::optional(co_await store_.count(query)) : std::nullopt;
  const runtime::SessionViews page =
      co_await runtime_.sessions(query, std::string(ask.target.find("cursor").value_or("")), limit);
  std::string json = "[";
  for (const runtime::SessionView& session : page.sessions) {
    if (json.size() > 1) json += ',';
    json += session_json(session);
  }
  json += ']';
  http::Response response = data_response(ask.bare, 200, std::move(json));
  if (total) response.headers.add("X-Total-Count", std::to_string(*total));
  if (!page.next_cursor.empty())
    response.headers.add("Link", next_page("/sessions", ask.target, "cursor", page.next_cursor));
  co_await ask.responder.send(std::move(response));
}

Async<void> Api::get_session(Ask& ask) {
  const runtime::SessionView view = co_await runtime_.session(ask.captures.at(0));
  co_await ask.answer_version(view.record.version, session_json(view));
}

Async<void> Api::keepalive(Ask& ask) {
  const runtime::SessionView view = co_await runtime_.keepalive(ask.captures.at(0), ask.caller.name);
  const bool may_see = ask.caller.scopes.allow(Scope::apps_read);
  co_await ask.answer(200, may_see ? session_json(view) : session_expiry_json(view));
}

Async<void> Api::end_session(Ask& ask) {
  co_await runtime_.end_session(ask.captures.at(0), ask.caller.name);
  co_await ask.responder.send({.status = 204});
}

Async<void> Api::get_state(Ask& ask) {
  std::string json = "{";
  const store::Snapshot session = co_await runtime_.stored(ask.captures.at(0));
  for (const auto& [key, value] : session.state) {
    if (json.size() > 1) json += ',';
    append_json_string(json, key);
    json.append(":").append(value);
  }
  json += '}';
  co_await ask.answer_version(session.record.version, std::move(json));
}

Async<void> Api::get_state_value(Ask& ask) {
  const store::Snapshot session = co_await runtime_.stored(ask.captures.at(0));
  const auto found = session.state.find(ask.captures.at(1));
  if (found == session.state.end()) {
    throw Error(ErrorCode::not_found,
                fmt::format("session {} has no state['{}']", ask.captures.at(0), ask.captures.at(1)));
  }
  co_await ask.answer_version(session.record.version, found->second);
}

Async<void> Api::put_state_value(Ask& ask) {
  Json value = parse_json(ask.request.body);
  std::vector<std::pair<std::string, std::optional<Json>>> changes;
  changes.emplace_back(ask.captures.at(1), std::move(value));
  co_await runtime_.change_state(ask.captures.at(0), std::move(changes), ask.caller.name,
                                 expected_version(ask.request));
  co_await ask.responder.send({.status = 204});
}

Async<void> Api::delete_state_value(Ask& ask) {
  std::vector<std::pair<std::string, std::optional<Json>>> changes;
  changes.emplace_back(ask.captures.at(1), std::nullopt);
  co_await runtime_.change_state(ask.captures.at(0), std::move(changes), ask.caller.name,
                                 expected_version(ask.request));
  co_await ask.responder.send({.status = 204});
}

}  // namespace sojourn::server
