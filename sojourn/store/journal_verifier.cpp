#include "sojourn/store/journal_verifier.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parser.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/told_session.hpp"
#include "sojourn/store/told_steps.hpp"

namespace sojourn::store {

namespace {

// A hash in hex digits as the newest event that names it recorded it; empty where the key was deleted.
struct Recorded {
  std::uint64_t seq = 0;
  std::string hash;
};

void note(Recorded& recorded, std::uint64_t seq, const Json& hash) {
  recorded.seq = seq;
  if (hash.is_string()) {
    recorded.hash.assign(hash.get_string().data(), hash.get_string().size());
  } else {
    recorded.hash.clear();
  }
}

// Reads event bodies into memory that it uses again and again.
class BodyReader {
 public:
  BodyReader() : memory_(buffer_.data(), buffer_.size()), parser_({}, options()) {}

  // The body as an object, valid until the next call; null if it is none.
  const JsonObject* read(std::string_view body) {
    value_.reset();
    memory_.release();
    parser_.reset(&memory_);
    boost::json::error_code error;
    parser_.write(body.data(), body.size(), error);
    if (error) return nullptr;
    value_.emplace(parser_.release());
    return value_->if_object();
  }

 private:
  static boost::json::parse_options options() {
    boost::json::parse_options options;
    options.max_depth = limits::json_depth + 2;  // the caller's data stands two levels deep
    return options;
  }

  std::array<unsigned char, 16 * limits::kibibyte> buffer_;
  boost::json::monotonic_resource memory_;
  boost::json::parser parser_;
  std::optional<Json> value_;
};

bool has_seq(const JsonObject& body, std::uint64_t expected) {
  const Json* seq = body.if_contains("seq");
  return seq != nullptr && seq->is_int64() && std::cmp_equal(seq->get_int64(), expected);
}

std::string_view text_of(const JsonObject& object, std::string_view field) {
  const Json* value = object.if_contains(field);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

// Whether it is one of Sojourn's own types that tell of state and outputs. What apps record may hold whatever they
// like.
bool records_values(std::string_view type) {
  return type.starts_with("call.") || type.starts_with("state.") || type.starts_with("session.");
}

const JsonObject* object_of(const JsonObject& object, std::string_view field) {
  const Json* value = object.if_contains(field);
  return value == nullptr ? nullptr : value->if_object();
}

}  // namespace

struct JournalVerifier::Parts {
  explicit Parts(const std::string& session_id) : previous(chain_start(session_id)) {
    report.session_id = session_id;
  }

  VerifyReport report;
  BodyReader reader;
  std::uint64_t seq = 0;      // of the last event
  Hash previous;              // as stored with it
  std::optional<Hash> other;  // as it should have been, where that differs
  std::unordered_map<std::string, Recorded> state;
  ToldSession session;
  ToldCalls calls;
  ToldSteps steps;
  std::optional<FolderNote> folder;
  std::vector<Artifact> artifacts;  // as the events tell of them
};

JournalVerifier::JournalVerifier(const std::string& session_id) : parts_(std::make_unique<Parts>(session_id)) {}
JournalVerifier::~JournalVerifier() = default;

void JournalVerifier::expect(const FolderNote& folder) {
  if (!folder.complaint.empty()) add({Finding::Kind::folder, 0, "", "", folder.complaint});
  if (folder.head.seq > 0) parts_->folder = folder;
}

void JournalVerifier::check_event(const Event& event) {
  Parts& my = *parts_;
  ++my.report.events;
  const std::uint64_t expected = ++my.seq;
  my.seq = event.seq;
  const JsonObject* body = my.reader.read(event.body);
  const bool gap = event.seq != expected;
  const Hash computed = chain_hash(my.previous, event.body);
  const bool fits = computed == event.hash || (my.other && chain_hash(*my.other, event.body) == event.hash);
  if (gap) {
    add({Finding::Kind::missing, expected, "", "",
         fmt::format("event {} is missing: event {} follows event {}", expected, event.seq, expected - 1)});
  } else if (body == nullptr) {
    add({Finding::Kind::malformed, event.seq, "", "", fmt::format("event {} is no JSON object", event.seq)});
  } else if (!has_seq(*body, event.seq)) {
    add({Finding::Kind::misplaced, event.seq, "", "",
         fmt::format("event {} bears another number in its body", event.seq)});
  } else if (!fits) {
    add({Finding::Kind::altered, event.seq, "", "",
         fmt::format("event {} was altered: its hash is not that of its body after event {}", event.seq,
                     event.seq - 1)});
  }
  if (body != nullptr) record(event.seq, *body, event.body);
  // Either the body was altered and the next event builds on the stored hash, or that hash was, and it builds on
  // this one.
  my.other = fits || gap ? std::nullopt : std::optional(computed);
  my.previous = event.hash;
  if (my.folder && my.folder->head.seq == event.seq && my.folder->head.hash != event.hash) {
    add({Finding::Kind::folder, event.seq, "", "",
         fmt::format("the folder's metadata knows another event {} than the store", event.seq)});
  }
}

void JournalVerifier::record(std::uint64_t seq, const JsonObject& body, std::string_view text) {
  const std::string_view type = text_of(body, "type");
  if (type == artifact_event) note_artifact(seq, body);
  if (type.starts_with("step.")) note_step(seq, type, body, text);
  if (type.starts_with("session.")) parts_->session.take(seq, type, body, text);
  if (!records_values(type)) return;
  const JsonObject* data = object_of(body, "data");
  if (data == nullptr) return;
  if (type.starts_with("call.")) parts_->calls.take(seq, type, *data);
  const JsonObject* state = object_of(*data, "state");
  if (state == nullptr) return;
  for (const auto& [key, hash] : *state) note(parts_->state[std::string(key)], seq, hash);
}

void JournalVerifier::note_step(std::uint64_t seq, std::string_view type, const JsonObject& body,
                                std::string_view text) {
  try {
    if (auto finding = parts_->steps.take(seq, type, body, text)) add(std::move(*finding));
  } catch (const std::exception&) {
    add({Finding::Kind::step, seq, "", "", fmt::format("event {} tells of no step that can be read", seq)});
  }
}

void JournalVerifier::note_artifact(std::uint64_t seq, const JsonObject& body) {
  try {
    parts_->artifacts.push_back(*artifact_in(body));
  } catch (const std::exception&) {
    add({Finding::Kind::artifact, seq, "", "", fmt::format("event {} tells of no artefact that can be read", seq)});
  }
}

std::set<std::string> JournalVerifier::contents() const {
  std::set<std::string> hashes;
  for (const Artifact& artifact : parts_->artifacts) hashes.insert(artifact.sha256);
  return hashes;
}

void JournalVerifier::check_contents(const HashOf& hash_of) {
  std::unordered_map<std::string, std::optional<std::string>> found;
  for (const Artifact& artifact : parts_->artifacts) {
    const auto [place, is_new] = found.try_emplace(artifact.sha256);
    if (is_new) place->second = hash_of(artifact.sha256);
    if (place->second == artifact.sha256) continue;
    add({Finding::Kind::artifact, artifact.seq, "", "",
         fmt::format("attempt {} of artefact '{}' {}, though event {} recorded it", artifact.attempt, artifact.path,
                     place->second ? "has another content" : "is missing", artifact.seq)});
  }
}

std::vector<Artifact> JournalVerifier::newest_artifacts() const {
  std::map<std::string, Artifact> newest;
  for (const Artifact& artifact : parts_->artifacts) newest.insert_or_assign(artifact.path, artifact);
  std::vector<Artifact> found;
  for (auto& [path, artifact] : newest) found.push_back(std::move(artifact));
  return found;
}

void JournalVerifier::check_head(const ChainHead& head) {
  const Parts& my = *parts_;
  if (my.seq < head.seq) {
    add({Finding::Kind::cut_off, my.seq + 1, "", "",
         fmt::format("the newest events are missing: the last one is {}, the session's row knows {}", my.seq,
                     head.seq)});
  } else if (my.previous != head.hash && my.other != head.hash) {
    add({Finding::Kind::head, head.seq, "", "",
         fmt::format("the hash in the session's row is not that of its newest event {}", head.seq)});
  }
  if (my.folder && my.folder->head.seq > head.seq) {
    add({Finding::Kind::folder, head.seq + 1, "", "",
         fmt::format("the folder's metadata knows {} events, the store only {}: the newest were cut off",
                     my.folder->head.seq, head.seq)});
  }
}

void JournalVerifier::check_record(const SessionRecord& record, const PublicKeys& keys) {
  for (Finding& finding : parts_->session.check(record)) add(std::move(finding));
  if (parts_->steps.count() != record.head.step_count) {
    add({Finding::Kind::step, 0, "", "",
         fmt::format("the session's row counts {} attempts at steps, its events {}", record.head.step_count,
                     parts_->steps.count())});
  }
  check_signature(record.head, keys);
}

void JournalVerifier::check_signature(const SessionHead& head, const PublicKeys& keys) {
  using Signature = VerifyReport::Signature;
  Parts& my = *parts_;
  const bool is_active = head.status == SessionStatus::active;
  const std::string& announced = my.session.key();
  if (head.signature.empty()) {
    // Whoever has the whole store can write another journal, which names no key.
    if (announced.empty() && keys.empty()) return;
    if (is_active && !announced.empty()) return;
    if (!is_active) my.report.signature = Signature::broken;
    add({Finding::Kind::signature, 0, "", "",
         is_active           ? "the first event names no key, though the server has one to sign journals with"
         : announced.empty() ? "the session is over, but its head is not signed"
                             : fmt::format("the session is over, but its head is not signed, as its first event "
                                           "announces (key {})",
                                           announced)});
    return;
  }
  if (keys.empty()) {
    my.report.signature = Signature::unchecked;
    return;
  }
  const auto key = keys.find(key_of(head.signature));
  if (key != keys.end() && holds(head.signature, key->second, my.report.session_id, head.chain)) {
    my.report.signature = Signature::valid;
    return;
  }
  my.report.signature = Signature::broken;
  add({Finding::Kind::signature, 0, "", "",
       key == keys.end() ? fmt::format("the head is signed by key '{}', which is not known", key_of(head.signature))
                         : fmt::format("key {} signed another head of this session", key->first)});
}

void JournalVerifier::check_state(const std::map<std::string, JsonText>& state) {
  const auto& recorded = parts_->state;
  for (const auto& [key, value] : state) {
    const auto place = recorded.find(key);
    if (place == recorded.end()) {
      add({Finding::Kind::state, 0, key, "", fmt::format("state '{}' has a value that no event recorded", key)});
    } else if (place->second.hash.empty()) {
      add({Finding::Kind::state, place->second.seq, key, "",
           fmt::format("state '{}' has a value, though event {} deleted it", key, place->second.seq)});
    } else if (place->second.hash != to_hex(sha256(value))) {
      add({Finding::Kind::state, place->second.seq, key, "",
           fmt::format("state '{}' is not what event {} recorded", key, place->second.seq)});
    }
  }
  for (const auto& [key, known] : recorded) {
    if (known.hash.empty() || state.contains(key)) continue;
    add({Finding::Kind::state, known.seq, key, "",
         fmt::format("state '{}' is missing, though event {} recorded a value", key, known.seq)});
  }
}

void JournalVerifier::check_task(const TaskNote& task, bool may_be_newer) {
  if (auto finding = parts_->calls.check(task, may_be_newer)) add(std::move(*finding));
}

const ToldCalls& JournalVerifier::other_calls() const {
  return parts_->calls;
}

void JournalVerifier::add_missing_tasks() {
  for (const std::string& task : parts_->calls.rest()) add(parts_->calls.missing(task));
}

void JournalVerifier::add_missing_ended_tasks() {
  for (const std::string& task : parts_->calls.rest()) {
    if (is_final(*parts_->calls.status_of(task))) add(parts_->calls.missing(task));
  }
}

void JournalVerifier::check_step(const StepRecord& step, std::uint64_t newest) {
  if (auto finding = parts_->steps.check(step, parts_->seq, newest)) add(std::move(*finding));
}

void JournalVerifier::add_missing_steps() {
  for (Finding& finding : parts_->steps.missing()) add(std::move(finding));
}

void JournalVerifier::add_surplus(const Event& event) {
  add({Finding::Kind::added, event.seq, "", "",
       fmt::format("event {} was added: the session's row does not know it", event.seq)});
}

void JournalVerifier::add(Finding finding) {
  VerifyReport& report = parts_->report;
  if (report.findings.size() < VerifyReport::most_findings) {
    report.findings.push_back(std::move(finding));
  } else {
    ++report.more_findings;
  }
}

VerifyReport JournalVerifier::take() {
  return std::move(parts_->report);
}

std::string_view to_string(Finding::Kind kind) {
  constexpr std::string_view words[] = {"altered", "malformed", "misplaced", "missing", "cut_off",  "added",
                                        "head",    "state",     "output",    "call",    "step",     "session",
                                        "context", "ending",    "signature", "folder",  "artifact", "archive"};
  return words[static_cast<std::size_t>(kind)];
}

std::string_view to_string(VerifyReport::Signature signature) {
  constexpr std::string_view words[] = {"none", "unchecked", "valid", "broken"};
  return words[static_cast<std::size_t>(signature)];
}

}  // namespace sojourn::store
