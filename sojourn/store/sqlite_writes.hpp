#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/store.hpp"

// What is written to the tables, inside a transaction that somebody else begins and ends.
//
// As nobody else writes, what each busy session's row holds is remembered, so that a commit is checked without
// reading and is little more than one statement for each row that it changes.
namespace sojourn::store {

// Threads: one at a time.
// Errors:  those of the Store's functions; when one is thrown after something was written, roll back.
class SqliteWrites {
 public:
  explicit SqliteWrites(Connection& connection);

  void create(const NewSession& session);
  std::uint64_t commit(const Commit& commit);
  Snapshot adopt(const std::string& session_id, const std::string& owner);

  // Removes these of the sessions that are not active, and returns how many. What belonged to them is out of sight
  // then, and is removed by sweep().
  std::uint64_t purge(const std::vector<std::string>& session_ids);

  void webhook_tried(const std::string& task_id, const Webhook& webhook);

  // Removes at most about `limit` rows of each kind that belonged to that purged session. Whether more may be left.
  bool sweep(const std::string& session_id, std::int64_t limit);

  // Forgets what it remembers; to be called whenever a transaction did not become durable.
  void rolled_back() { known_.clear(); }

 private:
  // The row of a session that is not over, as the last statement left it.
  struct Known {
    std::int64_t row = 0;
    std::uint64_t epoch = 0;
    std::uint64_t version = 0;
    SessionHead head;
  };

  Known& find(const std::string& session_id);
  void remember(const std::string& session_id, Known known);
  void write_head(const Known& known, const SessionHead& head);
  void write_events(std::int64_t session, const std::vector<Event>& events);
  void write_state(std::int64_t session, const std::vector<StateChange>& changes);
  void check_keys(std::int64_t session, const std::vector<TaskRecord>& tasks);
  void write_webhook(std::int64_t session, const TaskRecord& task);
  void write_tasks(std::int64_t session, const std::vector<TaskRecord>& tasks);
  void write_steps(std::int64_t session, const std::vector<StepRecord>& steps);
  void write_resources(std::int64_t session, const Commit& commit);

  Connection& connection_;
  std::int64_t next_row_;
  std::unordered_map<std::string, Known> known_;
};

}  // namespace sojourn::store
