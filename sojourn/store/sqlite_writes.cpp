#include "sojourn/store/sqlite_writes.hpp"

#include <fmt/format.h>

#include "sojourn/base/error.hpp"
#include "sojourn/store/refusals.hpp"
#include "sojourn/store/sqlite_reads.hpp"

namespace sojourn::store {

namespace {

// About 20 MB. Sessions past that are read again when they come back.
constexpr std::size_t most_known = 50'000;

// A row is never given twice, not even after a purge: cursors are rows.
std::int64_t first_free_row(Connection& connection) {
  constexpr std::string_view newest =
      "SELECT max((SELECT coalesce(max(row), 0) FROM sessions), (SELECT coalesce(max(session), 0) FROM tombstones))";
  return connection.query(newest).one<std::int64_t>() + 1;
}

bool exists(Connection& connection, std::string_view sql, std::string_view id) {
  return connection.query(sql, id).next();
}

}  // namespace

SqliteWrites::SqliteWrites(Connection& connection) : connection_(connection), next_row_(first_free_row(connection)) {}

void SqliteWrites::create(const NewSession& session) {
  const SessionRecord& record = session.record;
  const SessionHead& head = record.head;
  if (exists(connection_, "SELECT 1 FROM sessions WHERE id = ?", record.id) ||
      exists(connection_, "SELECT 1 FROM tombstones WHERE id = ?", record.id)) {
    throw session_exists(record.id);
  }
  if (!session.opening_key.empty() &&
      exists(connection_, "SELECT 1 FROM givens WHERE opening_key <> '' AND opening_key = ?", session.opening_key)) {
    throw opening_key_taken(record.id);
  }
  check_links(record.id, {}, session.events, head.chain);
  const std::int64_t row = next_row_++;
  connection_.execute(
      "INSERT INTO sessions (row, id, app, app_version, user, lifecycle, labels, created_at, idle_timeout, lifetime, "
      "owner, epoch, version, status, stage, chain_seq, chain_hash, call_count, last_call_at, updated_at, "
      "expires_at, "
      "ended_at, end_reason, error, call_time, worker_time, cpu_time, peak_memory, bytes_in, bytes_out, signature, "
      "step_count) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,1,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      row, record.id, record.app, record.app_version, record.user, record.lifecycle, record.labels, record.created_at,
      record.idle_timeout, record.lifetime, record.owner, record.epoch, head.status, head.stage, head.chain.seq,
      head.chain.hash, head.call_count, head.last_call_at, head.updated_at, head.expires_at, head.ended_at,
      head.end_reason, head.error, head.usage.call_time, head.usage.worker_time, head.usage.cpu_time,
      head.usage.peak_memory, head.usage.bytes_in, head.usage.bytes_out, head.signature, head.step_count);
  if (record.labels != "{}") {
    connection_.execute(
        "INSERT OR IGNORE INTO labels SELECT json_array(key, atom), ?, ? FROM json_each(?) WHERE type = 'text'",
        record.created_at, row, record.labels);
  }
  connection_.execute("INSERT INTO givens (session, context, setup, metadata, opening_key) VALUES (?,?,?,?,?)", row,
                      record.context, record.setup, record.metadata, session.opening_key);
  write_events(row, session.events);
  write_state(row, session.state);
  write_tasks(row, session.tasks);
  remember(record.id, {row, record.epoch, 1, head});
}

std::uint64_t SqliteWrites::commit(const Commit& commit) {
  Known& known = find(commit.session_id);
  if (commit.epoch != known.epoch) throw session_fenced(commit, known.epoch);
  if (commit.version != known.version) throw session_changed(commit, known.version);
  check_links(commit.session_id, known.head.chain, commit.events, commit.head.chain);
  check_keys(known.row, commit.tasks);
  write_head(known, commit.head);
  write_events(known.row, commit.events);
  write_state(known.row, commit.state);
  write_tasks(known.row, commit.tasks);
  write_resources(known.row, commit);
  write_steps(known.row, commit.steps);
  const std::uint64_t version = known.version + 1;
  if (commit.head.status == SessionStatus::active) {
    known.head = commit.head;
    known.version = version;
  } else {
    known_.erase(commit.session_id);  // it seldom commits again
  }
  return version;
}

Snapshot SqliteWrites::adopt(const std::string& session_id, const std::string& owner) {
  std::optional<StoredSession> session = read_session(connection_, session_id);
  if (!session) throw session_unknown(session_id);
  session->record.owner = owner;
  ++session->record.epoch;
  connection_.execute("UPDATE sessions SET owner = ?, epoch = ? WHERE row = ?", owner, session->record.epoch,
                      session->row);
  remember(session_id, {session->row, session->record.epoch, session->record.version, session->record.head});
  return read_snapshot(connection_, std::move(*session));
}

std::uint64_t SqliteWrites::purge(const std::vector<std::string>& session_ids) {
  std::uint64_t count = 0;
  for (const std::string& id : session_ids) {
    connection_.execute(
        "INSERT INTO tombstones (session, id, chain_seq, chain_hash, signature, swept) "
        "SELECT row, id, chain_seq, chain_hash, signature, 0 FROM sessions s WHERE id = ? AND status <> 0 AND NOT "
        "EXISTS (SELECT 1 FROM webhooks w WHERE w.session = s.row AND w.status < 2)",
        id);
    if (connection_.changes() == 0) continue;
    const auto row = connection_.query("SELECT session FROM tombstones WHERE id = ?", id).one<std::int64_t>();
    connection_.execute(
        "DELETE FROM labels WHERE (label, created_at, session) IN (SELECT json_array(l.key, l.atom), s.created_at, "
        "s.row FROM sessions s, json_each(CASE WHEN json_valid(s.labels) THEN s.labels ELSE '{}' END) l "
        "WHERE s.row = ?)",
        row);
    known_.erase(id);
    connection_.execute("DELETE FROM sessions WHERE row = ?", row);
    connection_.execute("DELETE FROM givens WHERE session = ?", row);
    ++count;
  }
  return count;
}

bool SqliteWrites::sweep(const std::string& session_id, std::int64_t limit) {
  std::int64_t session = 0;
  {
    Statement unswept = connection_.query("SELECT session FROM tombstones WHERE id = ? AND swept = 0", session_id);
    if (!unswept.next()) return false;
    unswept.read(session);
  }
  constexpr std::string_view deletions[] = {
      "DELETE FROM events WHERE row IN (SELECT row FROM events WHERE session = ? LIMIT ?)",
      "DELETE FROM webhooks WHERE task IN (SELECT task FROM webhooks WHERE session = ? LIMIT ?)",
      "DELETE FROM tasks WHERE row IN (SELECT row FROM tasks WHERE session = ? LIMIT ?)",
      "DELETE FROM steps WHERE row IN (SELECT row FROM steps WHERE session = ? LIMIT ?)",
      "DELETE FROM resources WHERE row IN (SELECT row FROM resources WHERE session = ? LIMIT ?)",
      "DELETE FROM state WHERE session = ?1 AND key IN (SELECT key FROM state WHERE session = ?1 LIMIT ?2)",
  };
  bool more = false;
  for (const std::string_view deletion : deletions) {
    connection_.execute(deletion, session, limit);
    more = more || connection_.changes() == limit;
  }
  if (!more) connection_.execute("UPDATE tombstones SET swept = 1 WHERE session = ?", session);
  return more;
}

SqliteWrites::Known& SqliteWrites::find(const std::string& session_id) {
  const auto place = known_.find(session_id);
  if (place != known_.end()) return place->second;
  std::optional<StoredSession> session = read_session(connection_, session_id);
  if (!session) throw session_unknown(session_id);
  SessionRecord& record = session->record;
  remember(session_id, {session->row, record.epoch, record.version, std::move(record.head)});
  return known_.at(session_id);
}

void SqliteWrites::remember(const std::string& session_id, Known known) {
  if (known_.size() >= most_known) known_.clear();
  known_.insert_or_assign(session_id, std::move(known));
}

void SqliteWrites::write_head(const Known& known, const SessionHead& head) {
  const std::uint64_t version = known.version + 1;
  const SessionHead& before = known.head;
  connection_.execute(
      "UPDATE sessions SET version = ?, chain_seq = ?, chain_hash = ?, call_count = ?, last_call_at = ?, "
      "updated_at = ?, expires_at = ?, call_time = ?, bytes_in = ?, bytes_out = ?, step_count = ? "
      "WHERE row = ?",
      version, head.chain.seq, head.chain.hash, head.call_count, head.last_call_at, head.updated_at, head.expires_at,
      head.usage.call_time, head.usage.bytes_in, head.usage.bytes_out, head.step_count, known.row);
  // Apart, since these seldom change and setting an indexed column costs its index even where the value stays.
  if (head.status != before.status || head.stage != before.stage || head.ended_at != before.ended_at ||
      head.end_reason != before.end_reason || head.error != before.error || head.signature != before.signature) {
    connection_.execute(
        "UPDATE sessions SET status = ?, stage = ?, ended_at = ?, end_reason = ?, error = ?, signature = ? "
        "WHERE row = ?",
        head.status, head.stage, head.ended_at, head.end_reason, head.error, head.signature, known.row);
  }
  if (head.usage.worker_time != before.usage.worker_time || head.usage.cpu_time != before.usage.cpu_time ||
      head.usage.peak_memory != before.usage.peak_memory) {
    connection_.execute("UPDATE sessions SET worker_time = ?, cpu_time = ?, peak_memory = ? WHERE row = ?",
                        head.usage.worker_time, head.usage.cpu_time, head.usage.peak_memory, known.row);
  }
}

void SqliteWrites::write_events(std::int64_t session, const std::vector<Event>& events) {
  for (const Event& event : events) {
    connection_.execute("INSERT INTO events (session, seq, body, hash) VALUES (?,?,?,?)", session, event.seq,
                        event.body, event.hash);
  }
}

void SqliteWrites::write_state(std::int64_t session, const std::vector<StateChange>& changes) {
  for (const StateChange& change : changes) {
    if (change.value) {
      connection_.execute("INSERT OR REPLACE INTO state (session, key, value) VALUES (?,?,?)", session, change.key,
                          *change.value);
    } else {
      connection_.execute("DELETE FROM state WHERE session = ? AND key = ?", session, change.key);
    }
  }
}

void SqliteWrites::write_steps(std::int64_t session, const std::vector<StepRecord>& steps) {
  for (const StepRecord& step : steps) {
    connection_.execute(
        "INSERT INTO steps (session, number, name, attempt, status, started_at, ended_at, duration, started_seq, "
        "ended_seq, error) VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (session, number) DO UPDATE SET "
        "status = excluded.status, ended_at = excluded.ended_at, duration = excluded.duration, "
        "ended_seq = excluded.ended_seq, error = excluded.error",
        session, step.number, step.name, step.attempt, step.status, step.started_at, step.ended_at, step.duration,
        step.started_seq, step.ended_seq, step.error);
  }
}

// The unique key in the table would do, but only after something was written, and then every change beside this one
// is done again.
void SqliteWrites::check_keys(std::int64_t session, const std::vector<TaskRecord>& tasks) {
  for (const TaskRecord& task : tasks) {
    if (task.idempotency_key.empty()) continue;
    Statement another = connection_.query(
        "SELECT 1 FROM tasks WHERE session = ? AND idempotency_key <> '' AND idempotency_key = ? AND id <> ?",
        session, task.idempotency_key, task.id);
    if (another.next()) throw key_taken(task);
  }
}

void SqliteWrites::write_tasks(std::int64_t session, const std::vector<TaskRecord>& tasks) {
  for (const TaskRecord& task : tasks) {
    try {
      connection_.execute(
          "INSERT INTO tasks (id, session, seq, function, idempotency_key, request_hash, status, input, output, "
          "error, "
          "created_at, updated_at, started_at, ended_at, run_at, plan) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
          "ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, function = excluded.function, "
          "idempotency_key = excluded.idempotency_key, request_hash = excluded.request_hash, "
          "status = excluded.status, input = excluded.input, output = excluded.output, error = excluded.error, "
          "created_at = excluded.created_at, updated_at = excluded.updated_at, started_at = excluded.started_at, "
          "ended_at = excluded.ended_at, run_at = excluded.run_at, plan = excluded.plan "
          "WHERE session = excluded.session",
          task.id, session, task.seq, task.function, task.idempotency_key, task.request_hash, task.status, task.input,
          task.output, task.error, task.created_at, task.updated_at, task.started_at, task.ended_at, task.run_at,
          task.plan);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::already_exists) throw;
      throw key_taken(task);
    }
    if (connection_.changes() == 0) throw task_elsewhere(task);
    if (task.webhook) write_webhook(session, task);
  }
}

void SqliteWrites::write_webhook(std::int64_t session, const TaskRecord& task) {
  const Webhook& webhook = *task.webhook;
  connection_.execute(
      "INSERT OR IGNORE INTO webhooks (task, session, url, origin, bare, status, attempts, next_at, error) "
      "VALUES (?,?,?,?,?,?,?,?,?)",
      task.id, session, webhook.url, webhook.origin, webhook.bare, webhook.status, webhook.attempts, webhook.next_at,
      webhook.error);
  if (!is_final(task.status)) return;
  connection_.execute("UPDATE webhooks SET status = ?, next_at = ? WHERE task = ? AND status = ?",
                      Webhook::Status::owed, task.updated_at, task.id, Webhook::Status::waiting);
}

void SqliteWrites::webhook_tried(const std::string& task_id, const Webhook& webhook) {
  connection_.execute("UPDATE webhooks SET status = ?, attempts = ?, next_at = ?, error = ? WHERE task = ?",
                      webhook.status, webhook.attempts, webhook.next_at, webhook.error, task_id);
}

void SqliteWrites::write_resources(std::int64_t session, const Commit& commit) {
  for (const ResourceRecord& resource : commit.resources_added) {
    connection_.execute(
        "INSERT INTO resources (session, id, kind, cost, created_at, cleanup) VALUES (?,?,?,?,?,?) "
        "ON CONFLICT (session, id) DO UPDATE SET kind = excluded.kind, cost = excluded.cost, "
        "created_at = excluded.created_at, cleanup = excluded.cleanup",
        session, resource.id, resource.kind, resource.cost, resource.created_at, resource.cleanup);
  }
  for (const std::string& id : commit.resources_released) {
    connection_.execute("DELETE FROM resources WHERE session = ? AND id = ?", session, id);
  }
}

}  // namespace sojourn::store
