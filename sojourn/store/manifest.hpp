#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/store.hpp"

// A session's artefacts as its journal tells of them: its events artifact.stored are the manifest.
namespace sojourn::store {

// One attempt of one artefact.
struct Artifact {
  std::string path;
  std::uint64_t attempt = 1;  // from 1; the newest one stands in the session's folder
  std::uint64_t size = 0;
  std::string sha256;  // hex
  std::string content_type;
  Time stored_at{};
  std::uint64_t seq = 0;  // of the event

  JsonObject to_json() const;     // all of it, for who asks
  JsonObject event_data() const;  // without what the event itself says
};

inline constexpr std::string_view artifact_event = "artifact.stored";

// The artefact that an event tells of; nothing for one of another type.
// Errors: those of reading JSON of another shape.
std::optional<Artifact> artifact_in(const JsonObject& body);

// Threads: one.
class Manifest {
 public:
  // Takes the artefact in, after those before it.
  void add(Artifact artifact);

  // Attempts of each path, oldest first.
  const std::map<std::string, std::vector<Artifact>>& paths() const { return paths_; }
  std::size_t size() const { return count_; }

  // The newest attempt, or that one. Null where there is none.
  const Artifact* find(std::string_view path, std::optional<std::uint64_t> attempt = std::nullopt) const;

  // Errors: already_exists (details: "with") for a path that differs from another's in case only, or of which one
  //         would have to be a folder of the other; too_large past limits::artifacts_per_session.
  void check_new(std::string_view path) const;

 private:
  std::map<std::string, std::vector<Artifact>> paths_;
  std::map<std::string, std::string> folded_;  // each path, and each folder of one, to how it is written
  std::size_t count_ = 0;
};

// Reads the manifest of a session from event `from` on into `manifest`, up to the newest.
// Returns the number of the next event. Errors: those of the store. Cost: about 1 us an event.
Async<std::uint64_t> read_manifest(Store& store, std::string session_id, std::uint64_t from, Manifest& manifest);

}  // namespace sojourn::store
