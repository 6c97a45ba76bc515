#include <fmt/format.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/event_stream.hpp"
#include "sojourn/server/query.hpp"

// What is asked of the flows that ran in a session, as its journal tells of them: /sessions/{id}/flow.
namespace sojourn::server {

namespace {

constexpr std::uint64_t default_runs = 20;
constexpr std::uint64_t most_runs = 100;
constexpr JsonLimits answer_limits{.bytes = (most_runs + 1) * limits::event_bytes, .depth = limits::json_depth + 2};

// {"seq", "time"} and what the app told.
JsonObject run_object(const store::Event& event) {
  JsonObject body = parse_json_object(event.body, answer_limits);
  JsonObject run{{"seq", std::move(body.at("seq"))}, {"time", std::move(body.at("time"))}};
  for (auto& [name, value] : body.at("data").as_object()) run.emplace(name, std::move(value));
  return run;
}

}  // namespace

Async<void> Api::get_flow(Ask& ask) {
  const std::uint64_t limit = whole_number(ask.target, "limit", default_runs, most_runs);
  const std::uint64_t from = whole_number(ask.target, "from", 1, INT64_MAX);
  const FoundEvents found =
      co_await find_events(runtime_, store_, ask.captures.at(0), from, limit, {.types = {"flow.run"}});
  co_await note_read(ask, "flow");
  JsonArray runs;
  for (const store::Event& event : found.events) runs.push_back(run_object(event));
  http::Response response = data_response(ask.bare, 200, to_text(Json(std::move(runs)), answer_limits));
  if (found.next > 0) {
    const std::string path = fmt::format("/sessions/{}/flow", ask.captures.at(0));
    response.headers.add("Link", next_page(path, ask.target, "from", std::to_string(found.next)));
  }
  co_await ask.responder.send(std::move(response));
}

}  // namespace sojourn::server
