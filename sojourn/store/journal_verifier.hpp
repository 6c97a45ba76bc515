#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/manifest.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/told_calls.hpp"
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

  // The hashes of the artefacts that events recorded, each once.
  std::set<std::string> contents() const;

  // Holds the artefacts that events recorded against their contents: `hash_of` gives the SHA-256 in hex of what is
  // there under a hash, or nothing.
  using HashOf = std::function<std::optional<std::string>(const std::string& sha256)>;
  void check_contents(const HashOf& hash_of);

  // The newest attempt of each path.
  std::vector<Artifact> newest_artifacts() const;

  // Holds a task against the events; ToldCalls::check().
  void check_task(const TaskNote& task, bool may_be_newer = false);

  // Those that check_task() was not asked for.
  const ToldCalls& other_calls() const;
  void add_missing_tasks();
  void add_missing_ended_tasks();

  // Holds an attempt at a step against the events. It may know of later ones, up to `newest`.
  void check_step(const StepRecord& step, std::uint64_t newest);
  void add_missing_steps();

  void add_surplus(const Event& event);
  void add(Finding finding);

  VerifyReport take();

 private:
  struct Parts;

  void record(std::uint64_t seq, const JsonObject& body, std::string_view text);
  void note_step(std::uint64_t seq, std::string_view type, const JsonObject& body, std::string_view text);
  void note_artifact(std::uint64_t seq, const JsonObject& body);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sojourn::store
