#include "sojourn/store/sqlite_schema.hpp"

#include <fmt/format.h>

#include "sojourn/base/error.hpp"

namespace sojourn::store {

namespace {

// "Sjrn": says that a database is one of ours.
constexpr int application_id = 0x536A726E;

// The texts that a session is given once stand apart from its row, which every commit rewrites.
// Rows of events and tasks are appended: their indexes then grow at few places, which is what makes commits fast.
constexpr const char* version_1 = R"sql(
CREATE TABLE sessions (
  row INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  app TEXT NOT NULL,
  app_version TEXT NOT NULL,
  user TEXT NOT NULL,
  lifecycle TEXT NOT NULL,
  labels TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  idle_timeout INTEGER,
  lifetime INTEGER,
  owner TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  version INTEGER NOT NULL,
  status INTEGER NOT NULL,
  stage TEXT NOT NULL,
  chain_seq INTEGER NOT NULL,
  chain_hash BLOB NOT NULL,
  call_count INTEGER NOT NULL,
  last_call_at INTEGER,
  updated_at INTEGER NOT NULL,
  expires_at INTEGER,
  ended_at INTEGER,
  end_reason TEXT NOT NULL,
  error TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_status ON sessions (status);
CREATE INDEX sessions_by_stage ON sessions (stage);
CREATE INDEX sessions_by_app ON sessions (app) WHERE app <> '';
CREATE INDEX sessions_by_user ON sessions (user) WHERE user <> '';

CREATE TABLE givens (
  session INTEGER PRIMARY KEY,
  context TEXT NOT NULL,
  setup TEXT NOT NULL,
  metadata TEXT NOT NULL
) STRICT;

CREATE TABLE events (
  row INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  body TEXT NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_seq ON events (session, seq);

CREATE TABLE state (
  session INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
  row INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  function TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  request_hash BLOB NOT NULL,
  status INTEGER NOT NULL,
  input TEXT NOT NULL,
  output TEXT NOT NULL,
  error TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER
) STRICT;
CREATE INDEX tasks_by_seq ON tasks (session, seq);
CREATE UNIQUE INDEX tasks_by_key ON tasks (session, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX tasks_open ON tasks (session, seq) WHERE status < 10;

CREATE TABLE resources (
  row INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  cost INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  cleanup TEXT NOT NULL,
  UNIQUE (session, id)
) STRICT;

CREATE TABLE tombstones (
  session INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  chain_seq INTEGER NOT NULL,
  chain_hash BLOB NOT NULL,
  swept INTEGER NOT NULL
) STRICT;
CREATE INDEX tombstones_unswept ON tombstones (session) WHERE swept = 0;
)sql";

constexpr const char* version_2 = R"sql(
ALTER TABLE givens ADD COLUMN opening_key TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX givens_by_opening_key ON givens (opening_key) WHERE opening_key <> '';
)sql";

constexpr const char* version_3 = R"sql(
ALTER TABLE sessions ADD COLUMN call_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN worker_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN cpu_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN peak_memory INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN bytes_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN bytes_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN run_at INTEGER;
ALTER TABLE tasks ADD COLUMN plan TEXT NOT NULL DEFAULT '';
CREATE TABLE webhooks (
  task TEXT PRIMARY KEY,
  session INTEGER NOT NULL,
  url TEXT NOT NULL,
  origin TEXT NOT NULL,
  bare INTEGER NOT NULL,
  status INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  error TEXT NOT NULL
) STRICT;
CREATE INDEX webhooks_open ON webhooks (status, next_at) WHERE status < 2;
CREATE INDEX webhooks_by_session ON webhooks (session);
CREATE INDEX tasks_scheduled ON tasks (session, run_at) WHERE run_at IS NOT NULL AND seq = 0 AND status < 10;
)sql";

constexpr const char* version_4 = R"sql(
ALTER TABLE sessions ADD COLUMN signature TEXT NOT NULL DEFAULT '';
ALTER TABLE tombstones ADD COLUMN signature TEXT NOT NULL DEFAULT '';
)sql";

// Lists go by the time of creation, so each index of a filter goes on with it: a page is then read from one place.
// That of all sessions holds the ids too, so that a search in them reads nothing else.
constexpr const char* version_5 = R"sql(
ALTER TABLE sessions ADD COLUMN step_count INTEGER NOT NULL DEFAULT 0;
CREATE TABLE steps (
  row INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  number INTEGER NOT NULL,
  name TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  status INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  duration INTEGER NOT NULL,
  started_seq INTEGER NOT NULL,
  ended_seq INTEGER NOT NULL,
  error TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX steps_by_number ON steps (session, number);
CREATE UNIQUE INDEX steps_by_name ON steps (session, name, attempt);
CREATE TABLE labels (
  label TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  session INTEGER NOT NULL,
  PRIMARY KEY (label, created_at, session)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO labels SELECT json_array(l.key, l.atom), s.created_at, s.row FROM sessions s,
  json_each(CASE WHEN json_valid(s.labels) THEN s.labels ELSE '{}' END) l WHERE l.type = 'text';
DROP INDEX sessions_by_status;
DROP INDEX sessions_by_stage;
DROP INDEX sessions_by_app;
DROP INDEX sessions_by_user;
CREATE INDEX sessions_by_age ON sessions (created_at, row, id);
CREATE INDEX sessions_by_status ON sessions (status, created_at);
CREATE INDEX sessions_by_stage ON sessions (stage, created_at);
CREATE INDEX sessions_by_app ON sessions (app, created_at) WHERE app <> '';
CREATE INDEX sessions_by_user ON sessions (user, created_at) WHERE user <> '';
)sql";

constexpr Migration all[] = {{1, version_1}, {2, version_2}, {3, version_3}, {4, version_4}, {5, version_5}};

int read_pragma(Connection& connection, std::string_view pragma) {
  Statement statement = connection.query(pragma);
  return statement.next() ? statement.value<int>() : 0;
}

bool is_empty(Connection& connection) {
  return !connection.query("SELECT 1 FROM sqlite_schema LIMIT 1").next();
}

// The version of a store of ours; 0 for an empty database.
int version_of(Connection& connection, const std::filesystem::path& file, int newest) {
  const int version = read_pragma(connection, "PRAGMA user_version");
  const bool ours = read_pragma(connection, "PRAGMA application_id") == application_id;
  if (ours && version > newest) {
    throw Error(
        ErrorCode::store_newer,
        fmt::format("'{}' has schema version {}, this Sojourn knows up to {}", file.string(), version, newest),
        {{"version", version}, {"newest", newest}});
  }
  if (!ours && !is_empty(connection)) {
    throw Error(ErrorCode::store_corrupt, fmt::format("'{}' is no store of Sojourn", file.string()));
  }
  return ours ? version : 0;
}

}  // namespace

std::span<const Migration> migrations() {
  return all;
}

void migrate(Connection& connection, std::span<const Migration> steps, const std::filesystem::path& file) {
  const int before = version_of(connection, file, steps.back().version);
  for (const Migration& step : steps) {
    if (step.version <= before) continue;
    connection.run("BEGIN IMMEDIATE");
    try {
      connection.run(step.sql);
      connection.run(
          fmt::format("PRAGMA user_version = {}; PRAGMA application_id = {}; COMMIT", step.version, application_id));
    } catch (...) {
      connection.roll_back();
      throw;
    }
  }
}

void check_schema(Connection& connection, const std::filesystem::path& file) {
  const int newest = migrations().back().version;
  const int version = version_of(connection, file, newest);
  if (version == 0) throw Error(ErrorCode::store_corrupt, fmt::format("'{}' holds no tables", file.string()));
  if (version < newest) {
    throw Error(ErrorCode::store_read_only,
                fmt::format("'{}' has the older schema version {}: start the server once, which brings it to {}",
                            file.string(), version, newest));
  }
}

}  // namespace sojourn::store
