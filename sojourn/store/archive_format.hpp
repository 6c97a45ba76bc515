#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/record.hpp"

// What stands in an archive's files (docs/formats/archive.md). Texts over which hashes go are put in as they are, at
// the end of their line, so that they come out as they were. Private to this room.
namespace sojourn::store::archive {

inline constexpr const char* session_file = "session.json";
inline constexpr const char* events_folder = "events/";
inline constexpr const char* state_folder = "state/";
inline constexpr const char* tasks_folder = "tasks/";
inline constexpr const char* artifacts_folder = "artifacts/";
inline constexpr const char* keys_folder = "keys/";
inline constexpr const char* manifest_file = "manifest.json";
inline constexpr const char* signature_file = "manifest.sig";

struct File {
  std::string path;
  std::uint64_t size = 0;
  std::string sha256;  // hex
};

JsonText manifest_text(std::string_view session_id, std::string_view exported_at, const std::vector<File>& files);

// KEY:SIGNATURE over the manifest, and a line feed.
std::string sign_manifest(const SigningKey& key, std::string_view manifest);
bool manifest_holds(std::string_view signature, const PublicKeys& keys, std::string_view manifest);

JsonText session_text(const SessionRecord& record);
std::string event_line(const Event& event);
std::string state_line(std::string_view key, const JsonText& value);
std::string task_line(const TaskRecord& task);

// The other way. Errors: invalid_json, invalid_request, or whatever reading JSON of another shape throws.
SessionRecord read_session(std::string_view text);
Event read_event(std::string_view line);
std::pair<std::string, JsonText> read_state(std::string_view line);
TaskRecord read_task(std::string_view line);

}  // namespace sojourn::store::archive
