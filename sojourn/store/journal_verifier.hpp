#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/manifest.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/verify.hpp"

// Holds what it is shown of one session against its journal, wherever that comes from: verify() shows it what a store
// has, verify_archive() what an archive has.
namespace sojourn::store {

// Threads: one. Order: expect(), every event, check_head(), the rest.
class JournalVerifier {
 public:
  explicit JournalVerifier(const std::string& session_id);
  ~JournalVerifier();

  // What the session's folder knew before the events were read.
  void expect(const FolderNote& folder);

  // The next event.
  void check_event(const Event& event);

  // After the last event that the row knows of.
  void check_head(const ChainHead& head);

  // Holds what the session was given, and whether it is over, against the events; where it is, its head must be
  // signed by one of `keys`, if there are any.
  void check_record(const SessionRecord& record, const PublicKeys& keys);

  // Part of check_record(), for who has nothing but a head.
  void check_signature(const SessionHead& head, const PublicKeys& keys);

  void check_state(const std::map<std::string, JsonText>& state);

  // Holds the artefacts that events recorded against their contents: `hash_of` gives the SHA-256 in hex of what is
  // there under a hash, or nothing.
  using HashOf = std::function<std::optional<std::string>(const std::string& sha256)>;
  void check_contents(const HashOf& hash_of);

  // The newest attempt of each path.
  std::vector<Artifact> newest_artifacts() const;

  // Holds one completed task against the events, and forgets what they recorded of it.
  void check_output(const std::string& task, const std::string& output_hash);
  void add_missing_task(const std::string& task, std::uint64_t seq);
  void add_surplus(const Event& event);
  void add(Finding finding);

  // Tasks whose outputs events recorded, by which event, and for which check_output() was not asked.
  std::vector<std::pair<std::string, std::uint64_t>> outputs() const;

  VerifyReport take();

 private:
  struct Parts;

  void record(std::uint64_t seq, const JsonObject& body);
  void note_type(std::uint64_t seq, const JsonObject& body);
  void note_artifact(std::uint64_t seq, const JsonObject& body);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sojourn::store
