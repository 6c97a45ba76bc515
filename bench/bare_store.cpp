#include "bench/bare_store.hpp"

#include <fmt/core.h>
#include <sqlite3.h>

#include <array>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::bench {
namespace {

constexpr const char* schema = R"(
  pragma journal_mode = wal;
  pragma synchronous = full;
  pragma wal_autocheckpoint = 8000;
  create table sessions(id text primary key, version integer, status integer, call_count integer, chain_seq integer,
                        chain_hash blob, updated_at integer) without rowid;
  create table state(session_id text, key text, value text, primary key(session_id, key)) without rowid;
  create table events(session_id text, seq integer, body text, hash blob);
  create index events_of_session on events(session_id, seq);
  create table tasks(id text, session_id text, seq integer, status integer, input text, output text, ended_at integer);
  create unique index task_of_id on tasks(id);
)";

[[noreturn]] void give_up(sqlite3* database, std::string_view what) {
  fmt::print(stderr, "bare_server: {}: {}\n", what, sqlite3_errmsg(database));
  std::abort();
}

// A prepared statement; its parameters are given in order.
class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql) : database_(database) {
    if (sqlite3_prepare_v3(database, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement_,
                           nullptr) != SQLITE_OK) {
      give_up(database, sql);
    }
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  template <class... Values>
  void run(const Values&... values) {
    int index = 0;
    (bind(++index, values), ...);
    if (sqlite3_step(statement_) != SQLITE_DONE) give_up(database_, sqlite3_sql(statement_));
    sqlite3_reset(statement_);
  }

 private:
  using Bytes = std::array<unsigned char, 32>;

  void bind(int index, std::int64_t value) { sqlite3_bind_int64(statement_, index, value); }
  void bind(int index, const std::string& value) {
    sqlite3_bind_text(statement_, index, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
  }
  void bind(int index, const Bytes& value) {
    sqlite3_bind_blob(statement_, index, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
  }

  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

class Statements {
 public:
  explicit Statements(sqlite3* database)
      : begin_(database, "begin immediate"),
        commit_(database, "commit"),
        session_(database,
                 "insert into sessions values(?1, ?2, 0, ?2, ?2, ?3, ?4) on conflict do update set version = ?2, "
                 "call_count = ?2, chain_seq = ?2, chain_hash = ?3, updated_at = ?4"),
        state_(database, "insert into state values(?1, ?2, ?3) on conflict do update set value = ?3"),
        event_(database, "insert into events values(?, ?, ?, ?)"),
        task_(database, "insert into tasks values(?, ?, ?, 10, ?, ?, ?)") {}

  void begin() { begin_.run(); }
  void commit() { commit_.run(); }

  void write(const BareCommit& commit) {
    session_.run(commit.session_id, commit.version, hash_, commit.updated_at);
    state_.run(commit.session_id, commit.state_key, commit.state_value);
    event_.run(commit.session_id, commit.version, commit.event, hash_);
    task_.run(commit.task_id, commit.session_id, commit.version, commit.input, commit.output, commit.updated_at);
  }

 private:
  Statement begin_, commit_, session_, state_, event_, task_;
  std::array<unsigned char, 32> hash_{};  // of the size that a chain's has; a bare server computes none
};

}  // namespace

BareStore::BareStore(const std::string& path) {
  if (sqlite3_open_v2(path.c_str(), &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK ||
      sqlite3_exec(database_, schema, nullptr, nullptr, nullptr) != SQLITE_OK) {
    const std::string reason = sqlite3_errmsg(database_);
    sqlite3_close(database_);
    throw Error(ErrorCode::io_error, "cannot make " + path + ": " + reason);
  }
}

BareStore::~BareStore() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  arrived_.notify_one();
  if (writer_.joinable()) writer_.join();
  sqlite3_close(database_);
}

Async<void> BareStore::commit(BareCommit commit) {
  const Executor executor = co_await boost::asio::this_coro::executor;
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void()>(
      [&](auto handler) { enqueue(Waiting{std::move(commit), std::move(handler)}, executor); },
      boost::asio::use_awaitable);
}

void BareStore::enqueue(Waiting waiting, const Executor& executor) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(std::move(waiting));
    if (!writer_.joinable()) writer_ = std::thread(&BareStore::write_until_closed, this, executor);
  }
  if (first) arrived_.notify_one();
}

void BareStore::write_until_closed(const Executor& executor) {
  Statements statements(database_);
  for (;;) {
    std::vector<Waiting> batch;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      batch.swap(waiting_);
    }
    statements.begin();
    for (const Waiting& each : batch) statements.write(each.commit);
    statements.commit();
    boost::asio::post(executor, [batch = std::move(batch)]() mutable {
      for (Waiting& each : batch) each.resume();
    });
  }
}

}  // namespace sojourn::bench
