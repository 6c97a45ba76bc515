#include "sojourn/store/manifest.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/artifact_path.hpp"

namespace sojourn::store {

namespace {

constexpr std::size_t events_at_once = 256;

std::string text_of(const JsonObject& data, std::string_view field) {
  return std::string(data.at(field).as_string());
}

[[noreturn]] void refuse(std::string_view path, std::string_view other, std::string_view why) {
  throw Error(ErrorCode::already_exists, fmt::format("the artefact path '{}' {} '{}'", path, why, other),
              {{"with", other}});
}

// "a/b/c", "a/b" and "a".
template <class Take>
void for_each_folder(std::string_view path, Take take) {
  for (std::size_t end = path.rfind('/'); end != std::string_view::npos; end = path.rfind('/', end - 1)) {
    take(path.substr(0, end));
    if (end == 0) break;
  }
}

}  // namespace

JsonObject Artifact::event_data() const {
  return {{"path", path}, {"attempt", attempt}, {"size", size}, {"sha256", sha256}, {"content_type", content_type}};
}

JsonObject Artifact::to_json() const {
  JsonObject json = event_data();
  json["stored_at"] = format_time(stored_at);
  json["event"] = seq;
  return json;
}

std::optional<Artifact> artifact_in(const JsonObject& body) {
  const Json* type = body.if_contains("type");
  if (type == nullptr || !type->is_string() || std::string_view(type->get_string()) != artifact_event)
    return std::nullopt;
  const JsonObject& data = body.at("data").as_object();
  return Artifact{.path = text_of(data, "path"),
                  .attempt = data.at("attempt").to_number<std::uint64_t>(),
                  .size = data.at("size").to_number<std::uint64_t>(),
                  .sha256 = text_of(data, "sha256"),
                  .content_type = text_of(data, "content_type"),
                  .stored_at = parse_time(body.at("time").as_string()),
                  .seq = body.at("seq").to_number<std::uint64_t>()};
}

void Manifest::add(Artifact artifact) {
  folded_.emplace(folded(artifact.path), artifact.path);
  for_each_folder(artifact.path,
                  [this](std::string_view folder) { folded_.emplace(folded(folder), std::string(folder) + "/"); });
  ++count_;
  paths_[artifact.path].push_back(std::move(artifact));
}

const Artifact* Manifest::find(std::string_view path, std::optional<std::uint64_t> attempt) const {
  const auto place = paths_.find(std::string(path));
  if (place == paths_.end()) return nullptr;
  if (!attempt) return &place->second.back();
  for (const Artifact& artifact : place->second) {
    if (artifact.attempt == *attempt) return &artifact;
  }
  return nullptr;
}

void Manifest::check_new(std::string_view path) const {
  if (count_ >= limits::artifacts_per_session) {
    throw Error(ErrorCode::too_large, fmt::format("a session has at most {} artefacts, all attempts counted",
                                                  limits::artifacts_per_session));
  }
  if (const auto same = folded_.find(folded(path)); same != folded_.end() && same->second != path) {
    const bool is_folder = same->second == std::string(path) + "/";
    refuse(path, same->second, is_folder ? "is a folder of" : "differs in case only from");
  }
  for_each_folder(path, [&](std::string_view folder) {
    const auto same = folded_.find(folded(folder));
    if (same == folded_.end() || same->second == std::string(folder) + "/") return;
    refuse(path, same->second,
           same->second == folder ? "lies in what is an artefact itself:" : "differs in case only from");
  });
}

Async<std::uint64_t> read_manifest(Store& store, std::string session_id, std::uint64_t from, Manifest& manifest) {
  const std::string marked = fmt::format("\"type\":\"{}\"", artifact_event);
  for (;;) {
    const std::vector<Event> events = co_await store.events(session_id, from, events_at_once);
    for (const Event& event : events) {
      from = event.seq + 1;
      if (event.body.find(marked) == std::string::npos) continue;
      if (auto artifact = artifact_in(parse_json_object(event.body, {.depth = limits::json_depth + 2}))) {
        manifest.add(std::move(*artifact));
      }
    }
    if (events.size() < events_at_once) co_return from;
  }
}

}  // namespace sojourn::store
