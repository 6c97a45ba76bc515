#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/artifacts.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/query.hpp"

// What is asked of artefacts: /sessions/{id}/artifacts.
namespace sojourn::server {

namespace {

JsonObject shown(const std::vector<store::Artifact>& attempts) {
  JsonObject json = attempts.back().to_json();
  JsonArray earlier;
  for (std::size_t i = 0; i + 1 < attempts.size(); ++i) earlier.push_back(attempts[i].to_json());
  json["earlier"] = std::move(earlier);
  return json;
}

}  // namespace

Async<void> Api::list_artifacts(Ask& ask) {
  const store::Manifest manifest = co_await options_.artifacts->manifest(ask.captures.at(0));
  co_await note_read(ask, "artifacts");
  JsonArray listed;
  for (const auto& [path, attempts] : manifest.paths()) listed.push_back(shown(attempts));
  co_await ask.answer(200, to_text(Json(std::move(listed)), {.bytes = 64 * limits::mebibyte}));
}

Async<void> Api::put_artifact(Ask& ask) {
  const Artifacts::Stored stored = co_await options_.artifacts->receive(ask.captures.at(0), ask.captures.at(1),
                                                                        ask.caller.name, ask.request, ask.responder);
  co_await ask.answer(stored.is_new ? 201 : 200, to_text(stored.artifact.to_json()));
}

Async<void> Api::get_artifact(Ask& ask) {
  std::optional<std::uint64_t> attempt;
  if (ask.target.find("attempt")) attempt = whole_number(ask.target, "attempt", 1, INT64_MAX);
  co_await options_.artifacts->manifest(ask.captures.at(0));  // refuses an unknown session
  co_await note_read(ask, "artifacts/" + ask.captures.at(1));
  co_await options_.artifacts->send(ask.captures.at(0), ask.captures.at(1), attempt, ask.request, ask.responder);
}

}  // namespace sojourn::server
