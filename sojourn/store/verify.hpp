#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/store/artifact_store.hpp"
#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/store.hpp"

// Proof that nobody rewrote what happened: a session's events held against their hash chain and its row, and its
// state and outputs held against the hashes that the events recorded (docs/formats/journal.md).
//
// Who can write the whole database can write a whole new chain, but cannot sign it (head_signature.hpp). A session
// that is not over has no signature yet: keep its last hash elsewhere against that, as its folder does.
namespace sojourn::store {

struct Finding {
  enum class Kind {
    altered,    // an event's hash is not that of its body after the event before
    malformed,  // an event's body is no JSON object
    misplaced,  // an event's body bears the number of another
    missing,    // events are gone between others
    cut_off,    // the newest events are gone
    added,      // events past the newest that the session's row knows
    head,       // the session's row has another hash than its newest event
    state,      // a state row is not what the last event that named its key recorded
    output,     // likewise a task's output
    call,       // a task's row is missing, or is not what events tell of the call
    step,       // likewise an attempt at a step
    session,    // the session's row is not what its first and last events, and those that moved its stage, recorded
    context,    // the session's context is not what its first event recorded
    ending,     // the session's row and its events do not agree on whether it is over
    signature,  // the head of a session that is over is not signed by the key
    folder,     // session_metadata.json knows another journal than the store, or cannot be read
    artifact,   // the content of an artefact, or its file in the folder, is not what an event recorded
    archive,    // an archive is not as it was written (archive.hpp)
  };

  Kind kind{};
  std::uint64_t seq = 0;  // the event at fault, or the one that recorded the hash; 0 for none
  std::string key;        // of a state row
  std::string task;       // of an output
  std::string message;
};

std::string_view to_string(Finding::Kind kind);

struct VerifyReport {
  // Of the head: there is none, as of a session that goes on; nobody gave its key; the key made it; it did not.
  enum class Signature { none, unchecked, valid, broken };

  std::string session_id;
  Signature signature = Signature::none;
  bool purged = false;            // nothing is left but its tombstone, whose signature was checked
  std::uint64_t events = 0;       // looked at
  std::vector<Finding> findings;  // events first, by seq; at most most_findings
  std::uint64_t more_findings = 0;

  static constexpr std::size_t most_findings = 100;
  bool ok() const { return findings.empty(); }
};

std::string_view to_string(VerifyReport::Signature signature);

// What else is held against the store. Lifetime: until the verification returns.
struct VerifyAgainst {
  const PublicKeys* keys = nullptr;          // the server's; null or none: signatures are not checked
  const SessionFolders* folders = nullptr;   // null: folders are not looked at
  const ArtifactStore* artifacts = nullptr;  // null: artefacts are not looked at
};

// Verifies one session as it stands when it is called; it may go on being served meanwhile.
// Errors: session_not_found for one that never was; those of the store.
// Cost:   about 2 us an event, 1 ms at a time on the caller's executor, where the files of `against` are read too.
Async<VerifyReport> verify(Store& store, std::string session_id, VerifyAgainst against = {});

// Verifies these sessions, several at once, and returns their reports in this order; without those of sessions that
// are not there, or no longer.
// Errors: those of the store. Cost: as above; what is read next is read meanwhile.
Async<std::vector<VerifyReport>> verify(Store& store, std::vector<std::string> session_ids,
                                        VerifyAgainst against = {});

}  // namespace sojourn::store
