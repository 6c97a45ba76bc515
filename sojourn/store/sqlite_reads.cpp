#include "sojourn/store/sqlite_reads.hpp"

#include <limits>

#include "sojourn/base/json.hpp"
#include "sojourn/store/refusals.hpp"
#include "sojourn/store/sqlite_lists.hpp"
#include "sojourn/store/text_bound.hpp"

namespace sojourn::store {

namespace {

constexpr std::string_view session_columns =
    "SELECT s.row, s.id, s.app, s.app_version, s.user, s.lifecycle, s.labels, s.created_at, s.idle_timeout, "
    "s.lifetime, s.owner, s.epoch, s.version, s.status, s.stage, s.chain_seq, s.chain_hash, s.call_count, "
    "s.last_call_at, s.updated_at, s.expires_at, s.ended_at, s.end_reason, s.error, "
    "s.call_time, s.worker_time, s.cpu_time, s.peak_memory, s.bytes_in, s.bytes_out, s.signature, s.step_count, "
    "g.context, g.setup, g.metadata "
    "FROM sessions s CROSS JOIN givens g ON g.session = s.row ";

constexpr std::string_view task_columns =
    "SELECT t.id, s.id, t.seq, t.function, t.idempotency_key, t.request_hash, t.status, t.input, t.output, t.error, "
    "t.created_at, t.updated_at, t.started_at, t.ended_at, t.run_at, t.plan ";

// What store::is_scheduled() says, in the words of the index.
constexpr std::string_view scheduled = "t.run_at IS NOT NULL AND t.seq = 0 AND t.status < 10 ";
constexpr std::string_view open = "t.status < 10 AND NOT (t.run_at IS NOT NULL AND t.seq = 0) ";

constexpr std::string_view webhook_columns =
    "SELECT task, url, origin, bare, status, attempts, next_at, error FROM webhooks ";

constexpr std::string_view resource_columns = "SELECT s.id, r.id, r.kind, r.cost, r.created_at, r.cleanup ";

std::string operator+(std::string_view left, const char* right) {
  return std::string(left).append(right);
}

StoredSession take_session(Statement& row) {
  StoredSession session;
  SessionRecord& record = session.record;
  SessionHead& head = record.head;
  row.read(session.row, record.id, record.app, record.app_version, record.user, record.lifecycle, record.labels,
           record.created_at, record.idle_timeout, record.lifetime, record.owner, record.epoch, record.version,
           head.status, head.stage, head.chain.seq, head.chain.hash, head.call_count, head.last_call_at,
           head.updated_at, head.expires_at, head.ended_at, head.end_reason, head.error, head.usage.call_time,
           head.usage.worker_time, head.usage.cpu_time, head.usage.peak_memory, head.usage.bytes_in,
           head.usage.bytes_out, head.signature, head.step_count, record.context, record.setup, record.metadata);
  return session;
}

TaskRecord take_task(Statement& row) {
  TaskRecord task;
  row.read(task.id, task.session_id, task.seq, task.function, task.idempotency_key, task.request_hash, task.status,
           task.input, task.output, task.error, task.created_at, task.updated_at, task.started_at, task.ended_at,
           task.run_at, task.plan);
  return task;
}

ResourceRecord take_resource(Statement& row) {
  ResourceRecord resource;
  row.read(resource.session_id, resource.id, resource.kind, resource.cost, resource.created_at, resource.cleanup);
  return resource;
}

std::vector<TaskRecord> take_tasks(Statement rows) {
  std::vector<TaskRecord> tasks;
  while (rows.next()) tasks.push_back(take_task(rows));
  return tasks;
}

std::vector<ResourceRecord> take_resources(Statement rows) {
  std::vector<ResourceRecord> resources;
  while (rows.next()) resources.push_back(take_resource(rows));
  return resources;
}

Webhook take_webhook(Statement& row, std::string& task_id) {
  Webhook webhook;
  row.read(task_id, webhook.url, webhook.origin, webhook.bare, webhook.status, webhook.attempts, webhook.next_at,
           webhook.error);
  return webhook;
}

void add_webhook(Connection& connection, TaskRecord& task) {
  static const std::string sql = webhook_columns + "WHERE task = ?";
  Statement rows = connection.query(sql, task.id);
  std::string id;
  if (rows.next()) task.webhook = take_webhook(rows, id);
}

std::optional<TaskRecord> take_one_task(Connection& connection, Statement rows) {
  if (!rows.next()) return std::nullopt;
  TaskRecord task = take_task(rows);
  add_webhook(connection, task);
  return task;
}

// SQLite counts with signed numbers.
std::int64_t as_seq(std::uint64_t number) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min(number, most));
}

}  // namespace

std::optional<StoredSession> read_session(Connection& connection, std::int64_t number) {
  static const std::string sql = session_columns + "WHERE s.row = ?";
  Statement rows = connection.query(sql, number);
  if (!rows.next()) return std::nullopt;
  return take_session(rows);
}

std::optional<StoredSession> read_session(Connection& connection, std::string_view id) {
  static const std::string sql = session_columns + "WHERE s.id = ?";
  Statement rows = connection.query(sql, id);
  if (!rows.next()) return std::nullopt;
  return take_session(rows);
}

Snapshot read_snapshot(Connection& connection, StoredSession session) {
  static const std::string open_tasks = task_columns +
                                        "FROM tasks t JOIN sessions s ON s.row = t.session WHERE t.session = ? AND " +
                                        std::string(open) + "ORDER BY t.seq";
  static const std::string scheduled_tasks = "SELECT t.id, t.run_at FROM tasks t WHERE t.session = ? AND " +
                                             std::string(scheduled) + "ORDER BY t.run_at, t.row";
  static const std::string open_resources =
      resource_columns + "FROM resources r JOIN sessions s ON s.row = r.session WHERE r.session = ? ORDER BY r.row";

  Snapshot snapshot;
  Statement state = connection.query("SELECT key, value FROM state WHERE session = ?", session.row);
  while (state.next()) {
    std::string key = state.value<std::string>();
    snapshot.state.insert_or_assign(snapshot.state.end(), std::move(key), state.value<std::string>());
  }
  snapshot.resources = take_resources(connection.query(open_resources, session.row));
  snapshot.open_tasks = take_tasks(connection.query(open_tasks, session.row));
  for (TaskRecord& task : snapshot.open_tasks) add_webhook(connection, task);
  Statement last = connection.query("SELECT COALESCE(MAX(seq), 0) FROM tasks WHERE session = ?", session.row);
  if (last.next()) snapshot.last_task_seq = last.value<std::uint64_t>();
  Statement later = connection.query(scheduled_tasks, session.row);
  while (later.next()) {
    ScheduledCall& call = snapshot.scheduled.emplace_back();
    later.read(call.task_id, call.run_at);
  }
  snapshot.record = std::move(session.record);
  return snapshot;
}

std::optional<FullSession> read_full_session(Connection& connection, std::string_view id, std::size_t most_bytes) {
  static const std::string all_tasks =
      task_columns + "FROM tasks t JOIN sessions s ON s.row = t.session WHERE t.session = ? ORDER BY t.seq";

  std::optional<StoredSession> session = read_session(connection, id);
  if (!session) return std::nullopt;
  const std::int64_t row = session->row;
  FullSession full{.snapshot = read_snapshot(connection, std::move(*session))};
  TextBound bound(most_bytes);
  Statement tasks = connection.query(all_tasks, row);
  while (full.whole && tasks.next()) {
    TaskRecord task = take_task(tasks);
    full.whole = bound.admits(task);
    if (full.whole) full.tasks.push_back(std::move(task));
  }
  if (full.whole) {
    read_steps(connection, row, [&](StepRecord step) {
      full.whole = bound.admits(step);
      if (full.whole) full.steps.push_back(std::move(step));
      return full.whole;
    });
  }
  Statement events = connection.query("SELECT seq, body, hash FROM events WHERE session = ? ORDER BY seq", row);
  while (full.whole && events.next()) {
    Event event;
    events.read(event.seq, event.body, event.hash);
    full.whole = bound.admits(event);
    if (full.whole) full.events.push_back(std::move(event));
  }
  return full;
}

std::optional<TaskRecord> read_task(Connection& connection, std::string_view id) {
  static const std::string sql = task_columns + "FROM tasks t JOIN sessions s ON s.row = t.session WHERE t.id = ?";
  return take_one_task(connection, connection.query(sql, id));
}

std::optional<TaskRecord> read_task_by_key(Connection& connection, std::string_view session_id,
                                           std::string_view key) {
  static const std::string sql = task_columns +
                                 "FROM sessions s JOIN tasks t ON t.session = s.row "
                                 "WHERE s.id = ? AND t.idempotency_key <> '' AND t.idempotency_key = ?";
  return take_one_task(connection, connection.query(sql, session_id, key));
}

std::string read_session_opened_by(Connection& connection, std::string_view opening_key) {
  Statement found = connection.query(
      "SELECT s.id FROM givens g JOIN sessions s ON s.row = g.session "
      "WHERE g.opening_key <> '' AND g.opening_key = ?",
      opening_key);
  return found.next() ? found.value<std::string>() : "";
}

std::vector<TaskRecord> read_tasks(Connection& connection, std::string_view session_id, std::uint64_t from_seq,
                                   std::size_t limit) {
  static const std::string sql = task_columns +
                                 "FROM sessions s JOIN tasks t ON t.session = s.row WHERE s.id = ? AND t.seq >= ? "
                                 "ORDER BY t.seq LIMIT ?";
  return take_tasks(connection.query(sql, session_id, as_seq(from_seq), as_seq(limit)));
}

std::vector<Event> read_events(Connection& connection, std::string_view session_id, std::uint64_t from_seq,
                               std::size_t limit) {
  Statement rows = connection.query(
      "SELECT seq, body, hash FROM events WHERE session = (SELECT row FROM sessions WHERE id = ?) AND seq >= ? "
      "ORDER BY seq LIMIT ?",
      session_id, as_seq(from_seq), as_seq(limit));
  std::vector<Event> events;
  while (rows.next()) {
    Event& event = events.emplace_back();
    rows.read(event.seq, event.body, event.hash);
  }
  return events;
}

Leftovers read_leftovers(Connection& connection) {
  static const std::string active = session_columns + "WHERE s.status = 0 ORDER BY s.row";
  static const std::string open_tasks =
      task_columns +
      "FROM tasks t INDEXED BY tasks_open CROSS JOIN sessions s ON s.row = t.session "
      "WHERE " +
      std::string(open) + "ORDER BY t.session, t.seq";
  static const std::string scheduled_sessions =
      "SELECT s.id, MIN(t.run_at), COUNT(*) FROM tasks t INDEXED BY tasks_scheduled "
      "CROSS JOIN sessions s ON s.row = t.session WHERE " +
      std::string(scheduled) + "GROUP BY t.session";
  static const std::string resources =
      resource_columns + "FROM resources r CROSS JOIN sessions s ON s.row = r.session ORDER BY r.row";

  Leftovers leftovers;
  Statement sessions = connection.query(active);
  while (sessions.next()) leftovers.active_sessions.push_back(take_session(sessions).record);
  leftovers.open_tasks = take_tasks(connection.query(open_tasks));
  leftovers.resources = take_resources(connection.query(resources));
  Statement later = connection.query(scheduled_sessions);
  while (later.next()) {
    ScheduledSession& of = leftovers.scheduled.emplace_back();
    later.read(of.session_id, of.next, of.calls);
  }
  return leftovers;
}

OwedWebhooks read_webhooks_owed(Connection& connection, Time now, std::size_t limit,
                                const std::set<std::string>& busy) {
  static const std::string due = webhook_columns +
                                 "WHERE status = 1 AND status < 2 AND next_at <= ? AND "
                                 "origin NOT IN (SELECT value FROM json_each(?)) ORDER BY next_at LIMIT ?";
  const std::string left_out = to_text(JsonArray(busy.begin(), busy.end()));
  OwedWebhooks owed;
  Statement rows = connection.query(due, now, left_out, as_seq(limit));
  while (rows.next()) {
    OwedWebhook& webhook = owed.due.emplace_back();
    webhook.webhook = take_webhook(rows, webhook.task_id);
  }
  Statement next = connection.query(
      "SELECT next_at FROM webhooks WHERE status = 1 AND status < 2 AND next_at > ? ORDER BY next_at LIMIT 1", now);
  if (next.next()) owed.next = next.value<Time>();
  return owed;
}

std::size_t count_open_webhooks(Connection& connection, std::size_t most) {
  return connection.query("SELECT COUNT(*) FROM (SELECT 1 FROM webhooks WHERE status < 2 LIMIT ?)", as_seq(most))
      .one<std::size_t>();
}

std::vector<std::string> read_unswept(Connection& connection, std::size_t limit) {
  Statement rows =
      connection.query("SELECT id FROM tombstones WHERE swept = 0 ORDER BY session LIMIT ?", as_seq(limit));
  std::vector<std::string> ids;
  while (rows.next()) ids.push_back(rows.value<std::string>());
  return ids;
}

std::optional<Tombstone> read_tombstone(Connection& connection, std::string_view id) {
  Statement rows = connection.query("SELECT chain_seq, chain_hash, signature FROM tombstones WHERE id = ?", id);
  if (!rows.next()) return std::nullopt;
  Tombstone tombstone;
  rows.read(tombstone.chain.seq, tombstone.chain.hash, tombstone.signature);
  return tombstone;
}

}  // namespace sojourn::store
