#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/fields.hpp"
#include "sojourn/server/query.hpp"
#include "sojourn/server/versions.hpp"
#include "sojourn/store/session_folder.hpp"

// What is asked of a session's steps: /sessions/{id}/steps.
namespace sojourn::server {

namespace {

// A year, in milliseconds: no step takes longer, and its microseconds can be counted.
constexpr std::uint64_t longest_step = 31'622'400'000;

session::StepChange read_change(session::StepChange::Kind kind, std::string name, std::string_view body) {
  Fields fields(body.empty() ? JsonObject() : parse_json_object(body));
  session::StepChange change{.kind = kind, .name = std::move(name)};
  change.attempt = fields.whole_number("attempt", INT64_MAX);
  if (const auto duration = fields.whole_number("duration_ms", longest_step)) {
    change.duration = Milliseconds(*duration);
  }
  change.data = fields.object("data");
  change.failed = fields.boolean("failed");
  change.error = fields.any("error");
  return change;
}

}  // namespace

Async<void> Api::change_step(Ask& ask, session::StepChange::Kind kind) {
  session::StepChange change = read_change(kind, ask.captures.at(1), ask.request.body);
  change.actor = ask.caller.name;
  const runtime::StepView view =
      co_await runtime_.change_step(ask.captures.at(0), std::move(change), expected_version(ask.request));
  JsonObject json = step_object(view.step);
  json["version"] = view.version;
  co_await ask.answer_version(view.version, to_text(json));
}

Async<void> Api::start_step(Ask& ask) {
  return change_step(ask, session::StepChange::Kind::start);
}

Async<void> Api::finish_step(Ask& ask) {
  return change_step(ask, session::StepChange::Kind::finish);
}

Async<void> Api::fail_step(Ask& ask) {
  return change_step(ask, session::StepChange::Kind::fail);
}

Async<void> Api::report_step(Ask& ask) {
  return change_step(ask, session::StepChange::Kind::report);
}

Async<void> Api::get_steps(Ask& ask) {
  const std::uint64_t limit = whole_number(ask.target, "limit", default_page, largest_page);
  const std::uint64_t from = whole_number(ask.target, "from", 1, INT64_MAX);
  const std::string id = (co_await runtime_.session(ask.captures.at(0))).record.id;
  const store::StepSummary summary = co_await store_.step_summary(id);
  JsonArray attempts;
  for (const store::StepRecord& step : co_await store_.steps(id, from, limit))
    attempts.emplace_back(step_object(step));
  co_await ask.answer(
      200, to_text(JsonObject{{"steps_completed", JsonArray(summary.completed.begin(), summary.completed.end())},
                              {"timing", store::timing_of(summary)},
                              {"attempts", std::move(attempts)}}));
}

}  // namespace sojourn::server
