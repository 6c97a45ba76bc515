#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/store/record.hpp"

// Where sessions are at rest. One contract, several stores, one conformance suite (conformance_test.cpp).
//
// A session changes only by commits. A commit is one transaction: after it returns, all of it survives a power cut,
// and before, none of it can be seen. Commits of different sessions that wait at the same time share one fsync.
namespace sojourn::store {

struct NewSession {
  SessionRecord record;  // version is taken as 1
  std::vector<Event> events;
  std::vector<StateChange> state;
  std::vector<TaskRecord> tasks;
  std::string opening_key;  // by which it is found again, "" for none; no two sessions have the same
};

// One step of one session. Its events go on from the head without a gap, and head.chain is the last of them; anything
// else is an internal_error.
struct Commit {
  std::string session_id;
  std::uint64_t epoch = 0;    // the owner's
  std::uint64_t version = 0;  // the one it builds on
  SessionHead head;
  std::vector<Event> events;
  std::vector<StateChange> state;
  std::vector<TaskRecord> tasks;  // inserted, or replaced where the id is known
  std::vector<ResourceRecord> resources_added;
  std::vector<std::string> resources_released;  // ids
  std::vector<StepRecord> steps;                // inserted, or replaced where the number is known
};

// A call that waits for its time. Its input stays in the store until then.
struct ScheduledCall {
  std::string task_id;
  Time run_at{};

  bool operator==(const ScheduledCall&) const = default;
};

// All that is needed to go on with a session. Its events and finished tasks are read apart.
struct Snapshot {
  SessionRecord record;
  std::map<std::string, JsonText> state;
  std::vector<ResourceRecord> resources;  // oldest first
  std::vector<TaskRecord> open_tasks;     // neither final nor scheduled, by seq
  std::uint64_t last_task_seq = 0;        // the highest of any task, 0 without one
  std::vector<ScheduledCall> scheduled;   // by time, and those of one time as they came
};

// All of a session, of one moment.
struct FullSession {
  Snapshot snapshot;
  std::vector<TaskRecord> tasks;  // by seq, from the first
  std::vector<StepRecord> steps;  // by number
  std::vector<Event> events;      // by seq
  bool whole = true;              // nothing of these was left out
};

// A session with scheduled calls.
struct ScheduledSession {
  std::string session_id;
  Time next{};  // the earliest of them
  std::size_t calls = 0;

  bool operator==(const ScheduledSession&) const = default;
};

// What the last owner left open when it went without closing.
struct Leftovers {
  std::vector<SessionRecord> active_sessions;
  std::vector<TaskRecord> open_tasks;  // as in Snapshot
  std::vector<ScheduledSession> scheduled;
  std::vector<ResourceRecord> resources;
};

// Which sessions; all that is set must fit.
struct SessionQuery {
  std::optional<SessionStatus> status;
  std::string stage;
  std::string app;
  std::string user;
  std::map<std::string, std::string> labels;
  std::optional<Time> created_from;    // inclusive
  std::optional<Time> created_before;  // exclusive
  std::string id_text;                 // part of the id
  std::optional<Time> ended_before;    // exclusive; of those that are over
  std::set<std::string> other_apps;    // than these
};

struct Purgeable {
  struct Session {
    std::string id;
    std::uint64_t events = 0;
  };
  std::vector<Session> sessions;
  std::uint64_t next = 0;  // where to go on; 0 at the end
};

// What is left of a session that was purged.
struct Tombstone {
  ChainHead chain;
  std::string signature;  // of the head; "" for none

  bool operator==(const Tombstone&) const = default;
};

struct SessionPage {
  std::vector<SessionRecord> sessions;  // newest first: by created_at, and of one instant the last to come first
  std::string next_cursor;              // "" on the last page
  std::vector<std::string> broken;      // ids of those in between whose rows cannot be read
};

// Stores of every kind, and what they promise. Unless a function says otherwise:
// Errors:  store_full, store_read_only, store_locked, store_corrupt, io_error; a call that fails changes nothing.
// Threads: call from any executor; the call resumes on the caller's, whose loop must outlive the store.
// Cancel:  not supported: a call that has begun runs to its end, and must be awaited to it.
class Store {
 public:
  virtual ~Store() = default;

  // Errors:  already_exists, also for the id of a session that was purged, for an opening key that another has, and
  //          for a task's as in commit(); details.field is "id" or "opening_key" for the first ones.
  // Durable: when it returns.
  virtual Async<void> create(NewSession session) = 0;

  // Returns the new version, which is `commit.version` + 1.
  // Errors:  fenced (another epoch), conflict (another version), session_not_found; already_exists for an idempotency
  //          key that the session has under another task, and for a task of another session. Nothing is changed then.
  // Durable: when it returns.
  // Order:   commits of one session are applied in the order of the calls.
  virtual Async<std::uint64_t> commit(Commit commit) = 0;

  // Makes `owner` the session's owner under the next epoch, and returns what it needs to go on.
  // Errors:  session_not_found. Durable: when it returns.
  virtual Async<Snapshot> adopt(std::string session_id, std::string owner) = 0;

  // Reads without owning.
  virtual Async<std::optional<Snapshot>> load(std::string session_id) = 0;

  // Tasks, then steps, then events stop where their texts come to `most_bytes`; the rest is left to tasks(), steps()
  // and events().
  virtual Async<std::optional<FullSession>> load_all(std::string session_id, std::size_t most_bytes) = 0;
  virtual Async<std::optional<TaskRecord>> task(std::string task_id) = 0;
  virtual Async<std::optional<TaskRecord>> task_by_key(std::string session_id, std::string idempotency_key) = 0;

  // The id of the session that was created with this opening key, or "".
  virtual Async<std::string> session_opened_by(std::string opening_key) = 0;

  // Finished and open ones, by seq from `from_seq` on, at most `limit`.
  virtual Async<std::vector<TaskRecord>> tasks(std::string session_id, std::uint64_t from_seq, std::size_t limit) = 0;

  // By seq, from `from_seq` on, at most `limit`; empty past the newest and for an unknown session.
  virtual Async<std::vector<Event>> events(std::string session_id, std::uint64_t from_seq, std::size_t limit) = 0;

  // A page of at most `limit` sessions. `cursor` is "" or a page's next_cursor; sessions created meanwhile do not
  // shift the pages. Errors: invalid_request for a cursor that no page gave.
  // Cost: bounded, however many sessions there are. Where few fit several filters that each fit many, a page may
  //       therefore hold fewer than `limit`, or none; there are more all the same while it has a next_cursor.
  virtual Async<SessionPage> list(SessionQuery query, std::string cursor, std::size_t limit) = 0;

  // How many fit. Cost: grows with how many fit one of the filters.
  virtual Async<std::uint64_t> count(SessionQuery query) = 0;

  // The cursor of the page that begins after the first `count` that fit; nothing where fewer do.
  // Cost: grows with `count`.
  virtual Async<std::optional<std::string>> cursor_after(SessionQuery query, std::uint64_t count) = 0;

  // Attempts at steps, by number from `from_number` on, at most `limit`; empty for an unknown session.
  virtual Async<std::vector<StepRecord>> steps(std::string session_id, std::uint64_t from_number,
                                               std::size_t limit) = 0;

  // Of each of these steps the attempts that run, and the newest one; by number.
  virtual Async<std::vector<StepRecord>> latest_attempts(std::string session_id, std::vector<std::string> names) = 0;

  virtual Async<StepSummary> step_summary(std::string session_id) = 0;

  // Everything that a former owner left open. For the start of a server, before it serves.
  virtual Async<Leftovers> leftovers() = 0;

  // Sessions that fit and may be purged, for they are over and owe no webhook: the oldest first, at most `limit`, of
  // those after the place `after`, which is 0 or what the call before gave as `next`.
  // Cost: bounded, however many sessions there are, so that there may be more where it gives none.
  virtual Async<Purgeable> purgeable(SessionQuery query, std::size_t limit, std::uint64_t after) = 0;

  // Takes those of these sessions out of sight that may be purged, each whole. A tombstone stays. Returns how many.
  // What belonged to them is removed by sweep(). Durable: when it returns.
  virtual Async<std::uint64_t> purge(std::vector<std::string> session_ids) = 0;

  // Ids of purged sessions that were not swept to the end, at most `limit`.
  virtual Async<std::vector<std::string>> unswept(std::size_t limit) = 0;

  // Removes what belonged to a purged session, a part at a time, so that no commit waits long. Durable: when it
  // returns; what an earlier call began is gone on with.
  virtual Async<void> sweep(std::string session_id) = 0;

  virtual Async<std::optional<Tombstone>> tombstone(std::string session_id) = 0;

  // Waits for the commits that run, then closes. Calls after it are unavailable. Idempotent.
  virtual Async<void> close() = 0;
};

}  // namespace sojourn::store
