#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/store/outbox.hpp"
#include "sojourn/store/store.hpp"

namespace sojourn::store {

// A store that lasts as long as the object: for tests, and for programs that keep nothing. "Durable" means nothing
// here. Threads: safe; no call waits for anything but a short lock.
class MemoryStore final : public Store, public Outbox {
 public:
  Async<void> create(NewSession session) override;
  Async<std::uint64_t> commit(Commit commit) override;
  Async<Snapshot> adopt(std::string session_id, std::string owner) override;
  Async<std::optional<Snapshot>> load(std::string session_id) override;
  Async<std::optional<FullSession>> load_all(std::string session_id, std::size_t most_bytes) override;
  Async<std::optional<TaskRecord>> task(std::string task_id) override;
  Async<std::optional<TaskRecord>> task_by_key(std::string session_id, std::string idempotency_key) override;
  Async<std::string> session_opened_by(std::string opening_key) override;
  Async<std::vector<TaskRecord>> tasks(std::string session_id, std::uint64_t from_seq, std::size_t limit) override;
  Async<std::vector<Event>> events(std::string session_id, std::uint64_t from_seq, std::size_t limit) override;
  Async<SessionPage> list(SessionQuery query, std::string cursor, std::size_t limit) override;
  Async<std::uint64_t> count(SessionQuery query) override;
  Async<std::optional<std::string>> cursor_after(SessionQuery query, std::uint64_t count) override;
  Async<std::vector<StepRecord>> steps(std::string session_id, std::uint64_t from_number, std::size_t limit) override;
  Async<std::vector<StepRecord>> latest_attempts(std::string session_id, std::vector<std::string> names) override;
  Async<StepSummary> step_summary(std::string session_id) override;
  Async<Leftovers> leftovers() override;
  Async<Purgeable> purgeable(SessionQuery query, std::size_t limit, std::uint64_t after) override;
  Async<std::uint64_t> purge(std::vector<std::string> session_ids) override;
  Async<std::vector<std::string>> unswept(std::size_t limit) override;
  Async<void> sweep(std::string session_id) override;
  Async<std::optional<Tombstone>> tombstone(std::string session_id) override;
  Async<void> close() override;

  Async<OwedWebhooks> webhooks_owed(Time now, std::size_t limit, std::set<std::string> busy) override;
  Async<void> webhook_tried(std::string task_id, Webhook webhook) override;
  Async<std::size_t> open_webhooks(std::size_t most) override;

 private:
  struct Stored {
    SessionRecord record;
    std::map<std::string, JsonText> state;
    std::map<std::uint64_t, Event> events;
    std::vector<ResourceRecord> resources;            // oldest first
    std::multimap<std::uint64_t, std::string> tasks;  // ids by seq; of one seq in the order in which they came
    std::map<std::string, std::string> task_keys;     // idempotency key to id
    std::map<std::uint64_t, StepRecord> steps;        // by number
  };
  using Row = std::uint64_t;  // grows with each session and is never given twice

  Stored& find(const std::string& session_id);
  Stored* find_or_null(const std::string& session_id);
  Snapshot snapshot_of(const Stored& stored) const;
  bool may_be_purged(const Stored& stored) const;
  bool owes(const Stored& stored) const;
  void check_tasks(const std::string& session_id, const std::vector<TaskRecord>& tasks) const;
  void put_tasks(Stored& stored, std::vector<TaskRecord> tasks);
  std::unique_lock<std::mutex> enter();

  std::mutex mutex_;
  std::map<Row, Stored> sessions_;
  std::set<std::pair<Time, Row>> by_age_;
  std::map<std::string, Row> rows_;            // by id
  std::map<std::string, std::string> opened_;  // opening key to id
  std::map<std::string, TaskRecord> tasks_;    // by id
  std::map<std::string, Tombstone> tombstones_;
  std::set<std::string> unswept_;
  Row next_row_ = 1;
  bool closed_ = false;
};

}  // namespace sojourn::store
