#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/sha256.hpp"

// What a session is at rest. JSON is kept as the text that was made once, so that hashes always cover the same bytes.
namespace sojourn::store {

using JsonText = std::string;

enum class SessionStatus { active, ended, expired, failed };

std::string_view to_string(SessionStatus status);

// Where a call stands, with the numbers of seed 004's wire.
enum class TaskStatus {
  unknown = 0,
  received = 1,
  queued = 2,
  dispatched = 3,
  preparing = 4,
  serving = 5,
  setting_up = 6,
  running = 7,
  cancelling = 8,
  uploading = 9,
  completed = 10,
  failed = 11,
  cancelled = 12,
};

std::string_view to_string(TaskStatus status);
constexpr bool is_final(TaskStatus status) {
  return status >= TaskStatus::completed;
}

// The newest link of a session's hash chain.
struct ChainHead {
  std::uint64_t seq = 0;  // of the newest event; 0 when there is none
  Hash hash{};            // of the newest event, or chain_start()

  bool operator==(const ChainHead&) const = default;
};

// What a session has cost so far.
struct Usage {
  Microseconds call_time{0};      // of the calls that ran, opening a worker for them included
  Microseconds worker_time{0};    // of the workers that are gone, from their opening until then
  Microseconds cpu_time{0};       // theirs, of their main processes and of children these waited for
  std::uint64_t peak_memory = 0;  // of the largest of those processes, in bytes
  std::uint64_t bytes_in = 0;     // inputs of the calls that ran, as text
  std::uint64_t bytes_out = 0;    // their outputs

  void add(const Usage& more);
  bool operator==(const Usage&) const = default;
};

// The part of a session that each commit replaces.
struct SessionHead {
  SessionStatus status = SessionStatus::active;
  std::string stage = "created";
  ChainHead chain;
  std::uint64_t call_count = 0;
  std::uint64_t step_count = 0;  // attempts at steps
  Usage usage;
  std::optional<Time> last_call_at;
  Time updated_at{};
  std::optional<Time>
      expires_at;  // end of the idle time-out or of the lifetime, whichever is first; for readers only
  std::optional<Time> ended_at;
  std::string end_reason;   // "" while active
  JsonText error = "null";  // of a failed session
  std::string signature;    // of the chain's last head, once the session is over (head_signature.hpp); "" for none

  bool operator==(const SessionHead&) const = default;
};

// {"calls", "call_ms", "worker_ms", "cpu_ms", "peak_memory_bytes", "bytes_in", "bytes_out"}
JsonText usage_text(const SessionHead& head);

struct SessionRecord {
  std::string id;
  std::string app;  // "" for a session without one
  std::string app_version;
  JsonText context = "{}";
  JsonText setup = "null";  // what the app's worker is opened with
  JsonText labels = "{}";   // flat object of strings
  JsonText metadata = "{}";
  std::string user;       // whose session it is, as the caller said
  std::string lifecycle;  // name of the declared one; "" for open
  Time created_at{};
  std::optional<Seconds> idle_timeout;
  std::optional<Seconds> lifetime;

  std::string owner;          // the server that serves it
  std::uint64_t epoch = 1;    // grows with each change of owner
  std::uint64_t version = 1;  // grows with each commit
  SessionHead head;

  bool operator==(const SessionRecord&) const = default;
};

// One thing that happened.
struct Event {
  std::uint64_t seq = 0;  // from 1, without gaps
  JsonText body;          // {"seq", "time", "type", "actor", "data"}: docs/formats/journal.md
  Hash hash{};            // chain_hash(previous hash, body)

  bool operator==(const Event&) const = default;
};

// The hash before a session's first event, so that events of one session do not fit another.
Hash chain_start(std::string_view session_id);

// The hash of an event: SHA-256 of the previous hash and the stored bytes.
Hash chain_hash(const Hash& previous, std::string_view body);

struct StateChange {
  std::string key;
  std::optional<JsonText> value;  // nothing: the key is deleted

  bool operator==(const StateChange&) const = default;
};

// Where a call's end is to be told, and whether it was.
struct Webhook {
  enum class Status { waiting, owed, delivered, given_up };  // until the call is over; from then on

  std::string url;
  std::string origin;  // of the URL: whose deliveries hold each other up
  bool bare = false;   // told without the envelope
  Status status = Status::waiting;
  unsigned attempts = 0;
  Time next_at{};     // of the next attempt, while it is owed
  std::string error;  // why the last attempt failed

  bool operator==(const Webhook&) const = default;
};

// One call: a task on the wire.
struct TaskRecord {
  std::string id;
  std::string session_id;
  std::uint64_t seq = 0;  // of the call within its session, from 1; 0 while it is scheduled
  std::string function;
  std::string idempotency_key;  // "" for none
  Hash request_hash{};          // of who called, function and input
  TaskStatus status = TaskStatus::received;
  JsonText input = "null";
  JsonText output = "null";
  JsonText error = "null";  // Error::to_json
  Time created_at{};
  Time updated_at{};
  std::optional<Time> started_at;
  std::optional<Time> ended_at;
  std::optional<Time> run_at;  // not before that, as the caller asked
  JsonText plan;               // of a call with `run_at`: how it is to be run; "" for any other
  // As it came with the first commit of the task; how it goes on is for Outbox. Lists of finished tasks leave it out.
  std::optional<Webhook> webhook;

  bool operator==(const TaskRecord&) const = default;
};

// Whether the call still waits for its time: it gets its number when that has come.
inline bool is_scheduled(const TaskRecord& task) {
  return task.seq == 0 && task.run_at && !is_final(task.status);
}

enum class StepStatus { running, completed, failed };

std::string_view to_string(StepStatus status);

// One attempt at a step of a session's own work.
struct StepRecord {
  std::uint64_t number = 0;  // of the attempt within its session, from 1
  std::string name;
  std::uint64_t attempt = 1;  // among those of that name, from 1
  StepStatus status = StepStatus::running;
  Time started_at{};
  std::optional<Time> ended_at;
  Microseconds duration{0};       // as measured or reported; 0 while it runs
  std::uint64_t started_seq = 0;  // of the event that tells of its start; 0 for one that was only reported
  std::uint64_t ended_seq = 0;    // of the one that tells of its end; 0 while it runs
  JsonText error = "null";        // what a failed one was told to have failed with

  bool operator==(const StepRecord&) const = default;
};

// What of a session's steps is done.
struct StepSummary {
  std::vector<std::string> completed;          // in the order of their first completion
  std::map<std::string, Microseconds> timing;  // of the attempt of each that was completed last

  // The next one that was completed.
  void add(const std::string& name, Microseconds duration);
  bool operator==(const StepSummary&) const = default;
};

// A resource that is open, and how to clean it up after a crash.
struct ResourceRecord {
  std::string session_id;
  std::string id;
  std::string kind;
  std::int64_t cost = 0;
  Time created_at{};
  JsonText cleanup = "null";  // {"path": ...}, {"pid": ..., "start": ...}, ...; null: only a closure knew

  bool operator==(const ResourceRecord&) const = default;
};

}  // namespace sojourn::store
