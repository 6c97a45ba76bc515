#include "sojourn/store/sqlite_lists.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/list_query.hpp"
#include "sojourn/store/sqlite_reads.hpp"

namespace sojourn::store {

namespace {

using Value = std::variant<std::int64_t, std::string>;

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

// What a page may cost, in entries of an index that are passed over, or what as many sessions cost as it may hold;
// less than 3 ms. To look at a session itself, in a store of a million, costs as much as some of them.
constexpr std::size_t page_work = 8'000;
constexpr std::size_t work_of_a_look = 12;

// Of sessions that are looked at for a purge; about 50 ms.
constexpr std::int64_t rows_at_once = 50'000;

// An index is narrow enough to be read along where fewer than this fit.
constexpr std::int64_t narrow = 1'000;

void bind_all(Statement& statement, const std::vector<Value>& values) {
  for (const Value& value : values) {
    std::visit([&](const auto& plain) { statement.bind(plain); }, value);
  }
}

// The conditions of a query, and the values they wait for, in order.
class Conditions {
 public:
  explicit Conditions(const SessionQuery& query) {
    if (query.status) add("s.status = ?", static_cast<std::int64_t>(*query.status));
    if (!query.stage.empty()) add("s.stage = ?", query.stage);
    // Said twice, so that SQLite sees that the partial index holds all that fits.
    if (!query.app.empty()) add("s.app <> '' AND s.app = ?", query.app);
    if (!query.user.empty()) add("s.user <> '' AND s.user = ?", query.user);
    if (!query.labels.empty()) {
      const auto& [key, value] = *query.labels.begin();
      add("s.row IN (SELECT session FROM labels WHERE label = json_array(?, ", key);
      text_ += "?))";
      values_.emplace_back(value);
    }
    if (query.labels.size() > 1) {
      // One value for all of them, so that the number of statements that are kept prepared is bounded.
      JsonObject labels;
      for (const auto& [key, value] : query.labels) labels.emplace(key, value);
      add("NOT EXISTS (SELECT 1 FROM json_each(?) wanted WHERE NOT EXISTS (SELECT 1 FROM "
          "json_each(CASE WHEN json_valid(s.labels) THEN s.labels ELSE '{}' END) own WHERE own.key = wanted.key AND "
          "own.type = 'text' AND own.atom = wanted.atom))",
          to_text(labels));
    }
    if (query.created_from) add("s.created_at >= ?", query.created_from->time_since_epoch().count());
    if (query.created_before) add("s.created_at < ?", query.created_before->time_since_epoch().count());
    if (!query.id_text.empty()) add("instr(s.id, ?) > 0", query.id_text);
    if (query.ended_before) add("s.ended_at < ?", query.ended_before->time_since_epoch().count());
    if (!query.other_apps.empty()) {
      const JsonArray apps(query.other_apps.begin(), query.other_apps.end());
      add("s.app NOT IN (SELECT value FROM json_each(?))", to_text(apps));
    }
  }

  void add(std::string_view condition, Value value) {
    text_ += text_.empty() ? "WHERE " : " AND ";
    text_ += condition;
    values_.push_back(std::move(value));
  }

  const std::string& text() const { return text_; }
  void bind(Statement& statement) const { bind_all(statement, values_); }

 private:
  std::string text_;
  std::vector<Value> values_;
};

// An index along which those that fit one filter lie, newest first.
struct Path {
  std::string_view row;   // its column
  std::string_view id;    // what gives the id, where the index holds it
  std::string_view from;  // and its condition
  std::vector<Value> values;

  std::string select(std::string_view range) const {
    return std::string("SELECT ").append(row).append(", created_at, ").append(id).append(from).append(range);
  }
  // Those of the cursor's instant are read apart: SQLite seeks by the time, and by the row only within one time.
  std::string same_instant() const {
    return select(" AND created_at = ? AND ").append(row).append(" < ? ORDER BY ").append(row).append(" DESC");
  }
  std::string older() const {
    return select(" AND created_at < ? AND created_at >= ? ORDER BY created_at DESC, ").append(row).append(" DESC");
  }
  std::string count() const {
    return std::string("SELECT COUNT(*) FROM (SELECT 1")
        .append(from)
        .append(" AND created_at < ? AND created_at >= ? LIMIT ?)");
  }
};

// The paths that a query could take, those that are narrow as a rule first.
std::vector<Path> paths_of(const SessionQuery& query) {
  std::vector<Path> paths;
  for (const auto& [key, value] : query.labels) {
    paths.push_back({"session", "NULL", " FROM labels WHERE label = json_array(?, ?)", {key, value}});
  }
  const auto add = [&paths](std::string_view from, Value value) {
    paths.push_back({"row", "NULL", from, {std::move(value)}});
  };
  if (!query.user.empty()) {
    add(" FROM sessions INDEXED BY sessions_by_user WHERE user <> '' AND user = ?", query.user);
  }
  if (!query.app.empty()) add(" FROM sessions INDEXED BY sessions_by_app WHERE app <> '' AND app = ?", query.app);
  if (!query.stage.empty()) add(" FROM sessions INDEXED BY sessions_by_stage WHERE stage = ?", query.stage);
  if (query.status) {
    add(" FROM sessions INDEXED BY sessions_by_status WHERE status = ?", static_cast<std::int64_t>(*query.status));
  }
  if (paths.empty()) paths.push_back({"row", "id", " FROM sessions INDEXED BY sessions_by_age WHERE true", {}});
  return paths;
}

// A walk from a cursor to older sessions, as far as the page's work allows.
class Walk {
 public:
  Walk(Connection& connection, const SessionQuery& query, std::string_view cursor, std::size_t limit)
      : connection_(connection),
        query_(query),
        limit_(std::max<std::size_t>(limit, 1)),
        most_work_(std::max(page_work, (limit_ + 2) * (1 + work_of_a_look))),
        start_(read_cursor(cursor)),
        paths_(paths_of(query)) {
    if (query.created_from) oldest_ = query.created_from->time_since_epoch().count();
    const std::int64_t before = query.created_before ? query.created_before->time_since_epoch().count() : most;
    const std::int64_t at = start_.created_at.time_since_epoch().count();
    if (before <= at) {
      newest_ = before;
    } else {
      newest_ = at;
      has_same_instant_ = at != most && at >= oldest_;
    }
  }

  SessionPage page() {
    const Path& path = narrowest();
    if (has_same_instant_) {
      Statement same = connection_.query(path.same_instant());
      bind_all(same, path.values);
      same.bind(newest_);
      same.bind(start_.row);
      follow(same);
    }
    if (!done_) {
      Statement older = connection_.query(path.older());
      bind_all(older, path.values);
      older.bind(newest_);
      older.bind(oldest_);
      follow(older);
    }
    return std::move(page_);
  }

 private:
  const Path& narrowest() {
    if (paths_.size() == 1) return paths_.front();
    std::vector<std::int64_t> counts;
    for (const Path& path : paths_) {
      Statement statement = connection_.query(path.count());
      bind_all(statement, path.values);
      statement.bind(newest_);
      statement.bind(oldest_);
      statement.bind(narrow);
      counts.push_back(statement.one<std::int64_t>());
    }
    return paths_[static_cast<std::size_t>(std::ranges::min_element(counts) - counts.begin())];
  }

  void follow(Statement& candidates) {
    while (!done_ && candidates.next()) {
      ListPlace place;
      std::optional<std::string> id;
      candidates.read(place.row, place.created_at, id);
      ++work_;
      if (!id || query_.id_text.empty() || id->find(query_.id_text) != std::string::npos) look_at(place);
      if (!done_ && work_ >= most_work_) {
        page_.next_cursor = cursor_text(place);
        done_ = true;
      }
    }
  }

  void look_at(const ListPlace& place) {
    work_ += work_of_a_look;
    if (!may_fit(place.row)) return;
    if (page_.sessions.size() == limit_) {
      page_.next_cursor = cursor_text(last_);
      done_ = true;
      return;
    }
    // One that is broken is passed over, and named, but must not take the others with it.
    try {
      std::optional<StoredSession> session = read_whole_session(place.row);
      if (!session) {
        note_broken(place.row);
      } else if (fits_query(session->record, query_)) {
        page_.sessions.push_back(std::move(session->record));
        last_ = place;
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::store_corrupt && error.code() != ErrorCode::invalid_json) throw;
      note_broken(place.row);
    }
  }

  // Whether it fits as far as a few columns tell; to read the whole of each session would cost more.
  bool may_fit(std::int64_t row) {
    if (paths_.size() <= 1 && query_.id_text.empty()) return true;
    Statement columns = connection_.query("SELECT status, stage, app, user, id FROM sessions WHERE row = ?", row);
    if (!columns.next()) return false;
    std::int64_t status = 0;
    std::string stage;
    std::string app;
    std::string user;
    std::string id;
    columns.read(status, stage, app, user, id);
    return (!query_.status || static_cast<std::int64_t>(*query_.status) == status) &&
           (query_.stage.empty() || query_.stage == stage) && (query_.app.empty() || query_.app == app) &&
           (query_.user.empty() || query_.user == user) && id.find(query_.id_text) != std::string::npos;
  }

  // Nothing where a part of it is missing, or is not what it should be: what is sent on as JSON must be JSON.
  std::optional<StoredSession> read_whole_session(std::int64_t row) {
    Statement sound = connection_.query(
        "SELECT s.status BETWEEN 0 AND 3 AND json_valid(s.labels) AND json_valid(s.error) AND json_valid(g.context) "
        "AND json_valid(g.setup) AND json_valid(g.metadata) FROM sessions s JOIN givens g ON g.session = s.row "
        "WHERE s.row = ?",
        row);
    if (!sound.next() || sound.value<std::int64_t>() == 0) return std::nullopt;
    return read_session(connection_, row);
  }

  void note_broken(std::int64_t row) {
    Statement id = connection_.query("SELECT id FROM sessions WHERE row = ?", row);
    if (id.next()) page_.broken.push_back(id.value<std::string>());
  }

  Connection& connection_;
  const SessionQuery& query_;
  const std::size_t limit_;
  const std::size_t most_work_;
  const ListPlace start_;
  const std::vector<Path> paths_;
  std::int64_t oldest_ = std::numeric_limits<std::int64_t>::min();  // inclusive
  std::int64_t newest_ = most;                                      // exclusive
  bool has_same_instant_ = false;                                   // sessions of newest_ may follow the cursor
  SessionPage page_;
  ListPlace last_;  // of the page's last session
  std::size_t work_ = 0;
  bool done_ = false;
};

StepRecord take_step(Statement& row) {
  StepRecord step;
  row.read(step.number, step.name, step.attempt, step.status, step.started_at, step.ended_at, step.duration,
           step.started_seq, step.ended_seq, step.error);
  return step;
}

constexpr std::string_view step_columns =
    "SELECT number, name, attempt, status, started_at, ended_at, duration, started_seq, ended_seq, error FROM steps ";

}  // namespace

SessionPage read_page(Connection& connection, const SessionQuery& query, std::string_view cursor, std::size_t limit) {
  return Walk(connection, query, cursor, limit).page();
}

std::uint64_t read_count(Connection& connection, const SessionQuery& query) {
  const Conditions conditions(query);
  Statement statement = connection.query("SELECT COUNT(*) FROM sessions s " + conditions.text());
  conditions.bind(statement);
  return statement.one<std::uint64_t>();
}

std::optional<std::string> read_cursor_after(Connection& connection, const SessionQuery& query, std::uint64_t count) {
  if (count == 0) return "";
  const Conditions conditions(query);
  Statement statement = connection.query("SELECT s.created_at, s.row FROM sessions s " + conditions.text() +
                                         " ORDER BY s.created_at DESC, s.row DESC LIMIT 1 OFFSET ?");
  conditions.bind(statement);
  statement.bind(static_cast<std::int64_t>(std::min<std::uint64_t>(count - 1, most)));
  if (!statement.next()) return std::nullopt;
  ListPlace place;
  statement.read(place.created_at, place.row);
  return cursor_text(place);
}

// In the order of rows, whatever index would find fewer: that would be sorted anew for each call.
Purgeable read_purgeable(Connection& connection, const SessionQuery& query, std::size_t limit, std::uint64_t after) {
  const auto from = static_cast<std::int64_t>(std::min<std::uint64_t>(after, most - rows_at_once));
  const std::int64_t until = from + rows_at_once;
  Conditions conditions(query);
  conditions.add("s.row > ?", from);
  conditions.add("s.row <= ?", until);
  Statement statement =
      connection.query("SELECT s.row, s.id, s.chain_seq FROM sessions s NOT INDEXED " + conditions.text() +
                       " AND s.status <> 0 AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE "
                       "w.session = s.row AND w.status < 2) ORDER BY s.row LIMIT ?");
  conditions.bind(statement);
  statement.bind(std::min<std::uint64_t>(limit, most));
  Purgeable found;
  std::int64_t row = 0;
  while (statement.next()) {
    Purgeable::Session& session = found.sessions.emplace_back();
    statement.read(row, session.id, session.events);
  }
  const std::int64_t place = found.sessions.size() < limit ? until : row;
  const bool more = connection.query("SELECT 1 FROM sessions WHERE row > ? LIMIT 1", place).next();
  if (more) found.next = static_cast<std::uint64_t>(place);
  return found;
}

std::vector<StepRecord> read_steps(Connection& connection, std::string_view session_id, std::uint64_t from_number,
                                   std::size_t limit) {
  static const std::string sql =
      std::string(step_columns) +
      "WHERE session = (SELECT row FROM sessions WHERE id = ?) AND number >= ? ORDER BY number LIMIT ?";
  Statement rows = connection.query(sql, session_id, std::min<std::uint64_t>(from_number, most),
                                    std::min<std::uint64_t>(limit, most));
  std::vector<StepRecord> steps;
  while (rows.next()) steps.push_back(take_step(rows));
  return steps;
}

void read_steps(Connection& connection, std::int64_t session, const std::function<bool(StepRecord)>& take) {
  static const std::string sql = std::string(step_columns) + "WHERE session = ? ORDER BY number";
  Statement rows = connection.query(sql, session);
  while (rows.next()) {
    if (!take(take_step(rows))) return;
  }
}

std::vector<StepRecord> read_latest_attempts(Connection& connection, std::string_view session_id,
                                             const std::vector<std::string>& names) {
  static const std::string sql =
      std::string(step_columns) +
      "o WHERE session = (SELECT row FROM sessions WHERE id = ?1) AND name = ?2 AND (status = 0 OR attempt = (SELECT "
      "MAX(n.attempt) FROM steps n WHERE n.session = o.session AND n.name = ?2)) ORDER BY number";
  std::vector<StepRecord> steps;
  for (const std::string& name : names) {
    Statement rows = connection.query(sql, session_id, name);
    while (rows.next()) steps.push_back(take_step(rows));
  }
  std::ranges::sort(steps, {}, &StepRecord::number);
  return steps;
}

StepSummary read_step_summary(Connection& connection, std::string_view session_id) {
  Statement rows = connection.query(
      "SELECT name, duration FROM steps WHERE session = (SELECT row FROM sessions WHERE id = ?) AND status = 1 "
      "ORDER BY ended_seq",
      session_id);
  StepSummary summary;
  while (rows.next()) {
    const std::string name = rows.value<std::string>();
    summary.add(name, rows.value<Microseconds>());
  }
  return summary;
}

}  // namespace sojourn::store
