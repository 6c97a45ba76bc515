#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/store/outbox.hpp"
#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/store.hpp"

// What is read from the tables, on any connection; inside a transaction each function reads one moment.
// Errors: those of a Statement.
namespace sojourn::store {

// A session's row by its id.
struct StoredSession {
  std::int64_t row = 0;
  SessionRecord record;
};

std::optional<StoredSession> read_session(Connection& connection, std::string_view id);
std::optional<StoredSession> read_session(Connection& connection, std::int64_t row);

// The rest of what Snapshot holds.
Snapshot read_snapshot(Connection& connection, StoredSession session);

// As Store::load_all().
std::optional<FullSession> read_full_session(Connection& connection, std::string_view id, std::size_t most_bytes);

std::optional<TaskRecord> read_task(Connection& connection, std::string_view id);
std::string read_session_opened_by(Connection& connection, std::string_view opening_key);
std::optional<TaskRecord> read_task_by_key(Connection& connection, std::string_view session_id, std::string_view key);
std::vector<TaskRecord> read_tasks(Connection& connection, std::string_view session_id, std::uint64_t from_seq,
                                   std::size_t limit);
std::vector<Event> read_events(Connection& connection, std::string_view session_id, std::uint64_t from_seq,
                               std::size_t limit);
Leftovers read_leftovers(Connection& connection);

OwedWebhooks read_webhooks_owed(Connection& connection, Time now, std::size_t limit,
                                const std::set<std::string>& busy);
std::size_t count_open_webhooks(Connection& connection, std::size_t most);

std::vector<std::string> read_unswept(Connection& connection, std::size_t limit);
std::optional<Tombstone> read_tombstone(Connection& connection, std::string_view id);

}  // namespace sojourn::store
