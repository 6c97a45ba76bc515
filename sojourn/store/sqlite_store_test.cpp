#include "sojourn/store/sqlite_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>

#include "sojourn/base/task_group.hpp"
#include "sojourn/store/fault_disk_test.hpp"
#include "sojourn/store/ledger_test.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/purge.hpp"
#include "sojourn/store/sqlite_schema.hpp"
#include "sojourn/store/sqlite_writes.hpp"
#include "sojourn/store/store_fixture_test.hpp"

// What only the SQLite store does; what every store does is in conformance_test.cpp.
namespace sojourn::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class SqliteStoreTest : public testing::Test {
 protected:
  ~SqliteStoreTest() override { close(); }

  SqliteStore& open(OpenMode mode = OpenMode::read_write) {
    store_ = SqliteStore::open({.folder = folder_.path(), .mode = mode});
    return *store_;
  }
  void close() {
    if (store_) run(store_->close());
    store_.reset();
  }
  SqliteStore& reopen() {
    close();
    return open();
  }

  // Changes the database as an outsider would.
  void run_sql(const std::string& sql) { Connection(file(), OpenMode::read_write).run(sql); }

  std::filesystem::path file() const { return folder_.path() / "sojourn.db"; }

  // Why the store in `folder` cannot be opened.
  static Error refusal_to_open(const std::filesystem::path& folder, OpenMode mode = OpenMode::read_write) {
    try {
      SqliteStore::open({.folder = folder, .mode = mode});
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the store was opened";
    return Error(ErrorCode::internal_error, "");
  }

  std::function<void(const Error&)> tells() {
    return [this](const Error& why) { told_.push_back(why.code()); };
  }

  TemporaryFolder folder_;
  std::vector<ErrorCode> told_;  // by the store's writer; to be read once that is closed
  std::unique_ptr<SqliteStore> store_;
};

// Makes a folder read-only for as long as it lives, also for a test that runs as root.
class Unwritable {
 public:
  explicit Unwritable(std::filesystem::path folder) : folder_(std::move(folder)) {
    ::chmod(folder_.c_str(), 0555);
    // Root may write everywhere; a thread whose file system user is another may not.
    if (::geteuid() == 0) ::setfsuid(65'534);
  }
  ~Unwritable() {
    if (::geteuid() == 0) ::setfsuid(0);
    ::chmod(folder_.c_str(), 0755);
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(SqliteStoreTest, FindsEverythingAgainAfterReopening) {
  Writing session = write_new(open(), "sess_1");
  session.write(*store_, session.next_of_everything());
  const Snapshot before = run(store_->load("sess_1")).value();
  const std::vector<Event> events = run(store_->events("sess_1", 1, 10));

  reopen();
  expect_same(run(store_->load("sess_1")).value(), before);
  EXPECT_EQ(run(store_->events("sess_1", 1, 10)), events);
  EXPECT_EQ(session.write(*store_, session.next({"more"})), 3u);
}

TEST_F(SqliteStoreTest, FindsEverythingAgainAfterACrash) {
  Writing session = write_new(open(), "sess_1");
  session.write(*store_, session.next_of_everything());
  const Snapshot before = run(store_->load("sess_1")).value();
  // The files as they are on the disk at this moment, with a log that nobody tidied away.
  const TemporaryFolder crashed;
  for (const char* name : {"sojourn.db", "sojourn.db-wal"}) {
    std::filesystem::copy(folder_.path() / name, crashed.path() / name);
  }
  {
    const auto reader = SqliteStore::open({.folder = crashed.path(), .mode = OpenMode::read_only});
    expect_same(run(reader->load("sess_1")).value(), before);
  }
  const auto writer = SqliteStore::open({.folder = crashed.path()});
  expect_same(run(writer->load("sess_1")).value(), before);
  EXPECT_EQ(run(writer->commit(session.next({"more"}))), 3u);
}

TEST_F(SqliteStoreTest, LeavesNoLogBehindWhenItIsClosed) {
  write_new(open(), "sess_1");
  close();
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "sojourn.db-wal"));
}

TEST_F(SqliteStoreTest, RefusesASecondWriterInTheSameFolder) {
  open();
  const Error error = refusal_to_open(folder_.path());
  EXPECT_EQ(error.code(), ErrorCode::store_locked);
  EXPECT_THAT(error.message(), HasSubstr(folder_.path().string()));
  reopen();
}

TEST_F(SqliteStoreTest, IsReadBesideItsWriter) {
  Writing session = write_new(open(), "sess_1");
  const auto reader = SqliteStore::open({.folder = folder_.path(), .mode = OpenMode::read_only});
  EXPECT_EQ(run(reader->load("sess_1"))->record.version, 1u);
  session.write(*store_, session.next({"more"}));
  EXPECT_EQ(run(reader->load("sess_1"))->record.version, 2u);
  EXPECT_EQ(refusal(reader->commit(session.next({"mine"}))), ErrorCode::store_read_only);
  EXPECT_EQ(refusal(reader->create(new_session("sess_2"))), ErrorCode::store_read_only);
  EXPECT_EQ(refusal(reader->adopt("sess_1", "me")), ErrorCode::store_read_only);
  EXPECT_EQ(refusal(reader->purge({"sess_1"})), ErrorCode::store_read_only);
  run(reader->close());
}

TEST_F(SqliteStoreTest, IsReadWhereNobodyServesIt) {
  write_new(open(), "sess_1");
  close();
  open(OpenMode::read_only);
  EXPECT_TRUE(run(store_->load("sess_1")));
  close();
  EXPECT_TRUE(run(open().load("sess_1"))) << "a reader holds no lock and changes nothing";
}

TEST_F(SqliteStoreTest, IsReadInAFolderThatCannotBeWritten) {
  write_new(open(), "sess_1");
  close();
  std::filesystem::permissions(file(), std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  std::optional<Snapshot> snapshot;
  {
    const Unwritable folder(folder_.path());
    open(OpenMode::read_only);
    snapshot = run(store_->load("sess_1"));
  }
  EXPECT_TRUE(snapshot);
}

TEST_F(SqliteStoreTest, RefusesAFolderThatCannotBeWritten) {
  std::optional<Error> here;
  std::optional<Error> below;
  {
    const Unwritable folder(folder_.path());
    here = refusal_to_open(folder_.path());
    below = refusal_to_open(folder_.path() / "new" / "folder");
  }
  EXPECT_EQ(here->code(), ErrorCode::store_read_only);
  EXPECT_THAT(here->message(), HasSubstr(folder_.path().string()));
  EXPECT_EQ(below->code(), ErrorCode::store_read_only);
}

TEST_F(SqliteStoreTest, RefusesANewerSchemaAndLeavesItAsItIs) {
  write_new(open(), "sess_1");
  close();
  run_sql("PRAGMA user_version = 99");
  for (const OpenMode mode : {OpenMode::read_write, OpenMode::read_only}) {
    const Error error = refusal_to_open(folder_.path(), mode);
    EXPECT_EQ(error.code(), ErrorCode::store_newer);
    EXPECT_THAT(error.message(), HasSubstr("99"));
  }
  run_sql("PRAGMA user_version = " + std::to_string(migrations().back().version));
  EXPECT_TRUE(run(open().load("sess_1")));
}

TEST_F(SqliteStoreTest, RefusesAFileThatIsNoDatabase) {
  std::ofstream(file()) << std::string(10'000, 'x');
  for (const OpenMode mode : {OpenMode::read_write, OpenMode::read_only}) {
    const Error error = refusal_to_open(folder_.path(), mode);
    EXPECT_EQ(error.code(), ErrorCode::store_corrupt);
    EXPECT_THAT(error.message(), HasSubstr(file().string()));
  }
  EXPECT_EQ(std::filesystem::file_size(file()), 10'000u);
}

TEST_F(SqliteStoreTest, RefusesAnotherProgramsDatabase) {
  run_sql("CREATE TABLE theirs (x)");
  EXPECT_EQ(refusal_to_open(folder_.path()).code(), ErrorCode::store_corrupt);
  EXPECT_EQ(refusal_to_open(folder_.path(), OpenMode::read_only).code(), ErrorCode::store_corrupt);
}

TEST_F(SqliteStoreTest, SaysThatThereIsNoStoreToRead) {
  const Error error = refusal_to_open(folder_.path(), OpenMode::read_only);
  EXPECT_EQ(error.code(), ErrorCode::not_found);
  EXPECT_THAT(error.message(), HasSubstr(folder_.path().string()));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "a reader leaves nothing behind";
}

TEST_F(SqliteStoreTest, LosesNothingWhenItIsFull) {
  store_ = SqliteStore::open({.folder = folder_.path(), .max_bytes = 400'000, .refused = tells()});
  Writing session = write_new(*store_, "sess_1");
  std::uint64_t written = 0;
  std::optional<ErrorCode> refused;
  while (!refused && written < 100) {
    Commit commit = session.next({"step"});
    commit.state = {{"key " + std::to_string(written), std::string(20'000, 'x')}};
    try {
      session.write(*store_, commit);
      ++written;
    } catch (const Error& error) {
      refused = error.code();
    }
  }
  EXPECT_EQ(refused, ErrorCode::store_full);
  EXPECT_GT(written, 5u);
  EXPECT_THAT(run(store_->load("sess_1"))->state, SizeIs(written));

  Commit smaller = session.next({"make room"});
  smaller.state = {{"key 0", std::nullopt}};
  session.write(*store_, smaller);
  EXPECT_EQ(refusal(store_->create(new_session("sess_1"))), ErrorCode::already_exists);
  EXPECT_THAT(run(reopen().load("sess_1"))->state, SizeIs(written - 1));
  EXPECT_THAT(told_, ElementsAre(ErrorCode::store_full))
      << "a change that is wrong by itself is no trouble of the store's";
}

Async<void> create_one(Store& store, std::string id) {
  co_await store.create(new_session(id));
}

TEST_F(SqliteStoreTest, FoldsItsLogByAConnectionThatDidNothingBefore) {
  write_new(open(), "sess_1");
  EXPECT_GT(Connection(file(), OpenMode::read_write).checkpoint(), 0);
}

TEST_F(SqliteStoreTest, KeepsItsLogShortWhileCommitsGoOn) {
  store_ = SqliteStore::open({.folder = folder_.path(), .log_pages = 100});
  Ledger ledger(16);
  std::uintmax_t longest = 0;
  std::uintmax_t written = 0;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(ledger.write(*store_, 3));
    longest = std::max(longest, std::filesystem::file_size(folder_.path() / "sojourn.db-wal"));
    written = std::filesystem::file_size(file());
  }
  constexpr std::uintmax_t page = 4'096 + 24;
  EXPECT_GT(written, 1'000'000u) << "too little to need a second log";
  // Four times the pages asked for, and what one transaction may add.
  EXPECT_LT(longest, (4 * 100 + 400) * page);
}

// All of them arrive while somebody else writes.
Async<void> create_many_behind(Store& store, Connection& outsider, int count) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  outsider.run("BEGIN IMMEDIATE");
  for (int i = 0; i < count; ++i) group.spawn(create_one(store, "sess_" + std::to_string(i)));
  group.spawn([](Connection& held) -> Async<void> {
    held.run("ROLLBACK");
    co_return;
  }(outsider));
  co_await group.join();
}

TEST_F(SqliteStoreTest, SharesOneTransactionAmongThoseThatWait) {
  open();
  Connection outsider(file(), OpenMode::read_write);
  run(create_many_behind(*store_, outsider, 100));
  const WriterStatistics statistics = store_->statistics();
  EXPECT_EQ(statistics.changes, 100u);
  EXPECT_LE(statistics.transactions, 2u) << "the first may go alone";
}

// Commits two tasks with a key; counts how it ended.
Async<void> commit_tasks(Store& store, std::string session_id, std::string task, std::string second, std::string key,
                         int& applied, int& refused) {
  const Writing session(session_id);
  Commit commit = session.next({"call"});
  commit.state = {{"task", task}};
  commit.tasks = {new_task(task, session_id, 1, key), new_task(second, session_id, 2, key + "_b")};
  try {
    co_await store.commit(std::move(commit));
    ++applied;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::already_exists);
    ++refused;
  }
}

Async<void> commit_many_tasks(Store& store, int sessions, int& applied, int& refused) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (int i = 0; i < sessions; ++i) {
    const std::string id = "sess_" + std::to_string(i);
    // Every third is refused: in turn for a key that its session has, and, after it wrote, for another's task.
    const std::string task = "task_" + std::to_string(i);
    const std::string second = i % 6 == 0 ? "first_" + std::to_string(i + 1) : task + "_b";
    const std::string key = i % 6 == 3 ? "taken" : "free";
    group.spawn(commit_tasks(store, id, task, second, key, applied, refused));
  }
  co_await group.join();
}

TEST_F(SqliteStoreTest, LeavesARefusedCommitOutOfTheTransactionItShares) {
  open();
  for (int i = 0; i < 30; ++i) {
    NewSession session = new_session("sess_" + std::to_string(i));
    session.tasks = {new_task("first_" + std::to_string(i), session.record.id, 0, "taken_b")};
    run(store_->create(session));
  }
  int applied = 0;
  int refused = 0;
  run(commit_many_tasks(*store_, 30, applied, refused));
  EXPECT_EQ(applied, 20);
  EXPECT_EQ(refused, 10);
  for (int i = 0; i < 30; ++i) {
    const Snapshot snapshot = run(store_->load("sess_" + std::to_string(i))).value();
    EXPECT_EQ(snapshot.record.version, i % 3 == 0 ? 1u : 2u);
    EXPECT_EQ(snapshot.state.size(), i % 3 == 0 ? 0u : 1u);
    EXPECT_EQ(run(store_->task("task_" + std::to_string(i))).has_value(), i % 3 != 0);
  }
}

TEST(SqliteWrites, RefusesAKeyThatIsTakenBeforeItWritesAnything) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "sojourn.db";
  Connection connection(file, OpenMode::read_write);
  migrate(connection, migrations(), file);
  SqliteWrites writes(connection);
  NewSession session = new_session("sess");
  session.tasks = {new_task("first", "sess", 0, "key")};
  writes.create(session);
  const std::int64_t before = connection.total_changes();
  Commit again = Writing("sess").next({"call"});
  again.tasks = {new_task("again", "sess", 1, "key")};
  EXPECT_THROW(writes.commit(again), Error);
  EXPECT_EQ(connection.total_changes(), before);
}

Async<void> count_failure(Store& store, Commit commit, int& failed) {
  try {
    co_await store.commit(std::move(commit));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error) << error.message();
    ++failed;
  }
}

Async<void> commit_to_all(Store& store, std::vector<Writing> sessions, int& failed) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (const Writing& session : sessions) group.spawn(count_failure(store, session.next_of_everything(), failed));
  co_await group.join();
}

TEST_F(SqliteStoreTest, AppliesNothingOfATransactionThatCannotBeSynced) {
  FaultDisk disk(folder_.path());
  open();
  std::vector<Writing> sessions;
  for (int i = 0; i < 10; ++i) sessions.push_back(write_new(*store_, "sess_" + std::to_string(i)));

  disk.fail_at({.sync = true}, 1, EIO, true);
  int failed = 0;
  run(commit_to_all(*store_, sessions, failed));
  EXPECT_EQ(failed, 10);
  EXPECT_EQ(refusal(store_->create(new_session("sess_new"))), ErrorCode::io_error);
  for (const Writing& session : sessions) {
    const Snapshot snapshot = run(store_->load(session.id)).value();
    EXPECT_EQ(snapshot.record.version, 1u);
    EXPECT_THAT(snapshot.state, IsEmpty());
  }

  disk.mend();
  failed = 0;
  run(commit_to_all(*store_, sessions, failed));
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(run(store_->load("sess_new")), std::nullopt);
  for (const Writing& session : sessions) EXPECT_EQ(run(store_->load(session.id))->record.version, 2u);
  close();
}

constexpr int reads_wanted = 20;

// Goes on while readers have not read often enough, however slow they are.
Async<void> write_pairs(Store& store, int count, const int& reads, bool& done) {
  Writing session("sess_1");
  for (int i = 0; i < count || reads < reads_wanted; ++i) {
    Commit commit = session.next({"one", "two"});
    commit.state = {{"a", std::to_string(i)}, {"b", std::to_string(i)}};
    session.version = co_await store.commit(commit);
    session.head = commit.head;
  }
  done = true;
}

Async<void> read_pairs(Store& store, const bool& done, int& reads) {
  while (!done) {
    const Snapshot snapshot = (co_await store.load("sess_1")).value();
    const std::uint64_t step = snapshot.record.version - 1;
    EXPECT_EQ(snapshot.record.head.chain.seq, 1 + 2 * step);
    if (step > 0) {
      EXPECT_EQ(snapshot.state.at("a"), std::to_string(step - 1));
      EXPECT_EQ(snapshot.state.at("b"), std::to_string(step - 1));
    }
    const std::vector<Event> events = co_await store.events("sess_1", 1, 1'000);
    EXPECT_EQ(events.size() % 2, 1u);
    EXPECT_GE(events.size(), 1 + 2 * step);
    ++reads;
  }
}

Async<void> read_and_write_pairs(Store& store, int& reads) {
  bool done = false;
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (int i = 0; i < 4; ++i) group.spawn(read_pairs(store, done, reads));
  group.spawn(write_pairs(store, 100, reads, done));
  co_await group.join();
}

TEST_F(SqliteStoreTest, ShowsReadersNothingHalfApplied) {
  write_new(open(), "sess_1");
  int reads = 0;
  run(read_and_write_pairs(*store_, reads));
  EXPECT_GE(reads, reads_wanted);
}

TEST_F(SqliteStoreTest, ReadsWhileAWriterHoldsTheDatabase) {
  write_new(open(), "sess_1");
  Connection outsider(file(), OpenMode::read_write);
  outsider.run("BEGIN IMMEDIATE");
  EXPECT_TRUE(run(store_->load("sess_1")));
  outsider.run("ROLLBACK");
}

TEST_F(SqliteStoreTest, KeepsATombstoneOfAPurgedSession) {
  NewSession session = new_session("sess_1");
  session.record.head.status = SessionStatus::ended;
  run(open().create(session));
  run(purge(*store_, {}));
  close();
  Connection connection(file(), OpenMode::read_only);
  Statement rows = connection.query("SELECT id, chain_seq, chain_hash FROM tombstones");
  ASSERT_TRUE(rows.next());
  EXPECT_EQ(rows.value<std::string>(), "sess_1");
  EXPECT_EQ(rows.value<int>(), 1);
  EXPECT_EQ(rows.value<Hash>(), session.events[0].hash);
  for (const std::string table : {"sessions", "givens", "events", "state", "tasks", "resources"}) {
    EXPECT_EQ(connection.query("SELECT count(*) FROM " + table).one<int>(), 0) << table;
  }
}

TEST_F(SqliteStoreTest, FindsItsCommitsInALogThatWasLaidOut) {
  store_ = SqliteStore::open({.folder = folder_.path(), .log_pages = 1'000, .lays_out_log = true});
  const auto log_bytes = std::filesystem::file_size(file().string() + "-wal");
  EXPECT_GE(log_bytes, 4'000'000u);
  write_new(*store_, "sess_1");
  EXPECT_EQ(std::filesystem::file_size(file().string() + "-wal"), log_bytes);

  const TemporaryFolder crashed;
  std::filesystem::copy(file(), crashed.path());
  std::filesystem::copy(file().string() + "-wal", crashed.path());
  const auto after = SqliteStore::open({.folder = crashed.path(), .lays_out_log = true});
  EXPECT_TRUE(run(after->load("sess_1")).has_value());
  run(after->close());
}

TEST_F(SqliteStoreTest, PurgesALargeSessionInSeveralTransactions) {
  Writing session = write_new(open(), "sess_1");
  Commit commit = session.next(std::vector<std::string>(3'000, "log"));
  commit.head.status = SessionStatus::ended;
  session.write(*store_, commit);
  const std::uint64_t before = store_->statistics().transactions;
  EXPECT_EQ(run(purge(*store_, {})), 1u);
  EXPECT_GE(store_->statistics().transactions, before + 4);
  close();
  EXPECT_EQ(Connection(file(), OpenMode::read_only).query("SELECT count(*) FROM events").one<int>(), 0);
}

TEST_F(SqliteStoreTest, GoesOnWithAPurgeThatACrashCutShort) {
  NewSession session = new_session("sess_1");
  session.record.head.status = SessionStatus::ended;
  session.tasks = {new_task("task_1", "sess_1", 1, "key")};
  run(open().create(session));
  close();
  run_sql(
      "INSERT INTO tombstones (session, id, chain_seq, chain_hash, swept) SELECT row, id, chain_seq, chain_hash, 0 "
      "FROM sessions; "
      "DELETE FROM sessions; DELETE FROM givens");
  open();
  EXPECT_EQ(run(store_->load("sess_1")), std::nullopt);
  EXPECT_EQ(run(store_->task("task_1")), std::nullopt);
  EXPECT_THAT(run(store_->events("sess_1", 1, 10)), IsEmpty());
  EXPECT_THAT(run(store_->leftovers()).open_tasks, IsEmpty());
  EXPECT_EQ(run(purge(*store_, {})), 0u);
  close();
  Connection connection(file(), OpenMode::read_only);
  EXPECT_EQ(connection.query("SELECT count(*) FROM events").one<int>(), 0);
  EXPECT_EQ(connection.query("SELECT count(*) FROM tasks").one<int>(), 0);
}

TEST_F(SqliteStoreTest, FindsWhatWasLeftOpenWithoutReadingEverySession) {
  open();
  close();
  Connection connection(file(), OpenMode::read_only);
  // How SQLite goes about the queries: "SCAN x" would read all of x.
  const auto plan = [&](const std::string& sql) {
    std::string text;
    Statement rows = connection.query("EXPLAIN QUERY PLAN " + sql);
    while (rows.next()) {
      std::int64_t number = 0;
      std::string step;
      rows.read(number, number, number, step);
      text += step + "\n";
    }
    return text;
  };
  EXPECT_THAT(plan("SELECT row FROM sessions s WHERE s.status = 0 ORDER BY s.row"), HasSubstr("sessions_by_status"));
  EXPECT_THAT(plan("SELECT * FROM tasks t INDEXED BY tasks_open WHERE t.status < 10 ORDER BY t.session, t.seq"),
              Not(HasSubstr("TEMP B-TREE")));
  const std::string newest_first = " AND created_at < ? ORDER BY created_at DESC, row DESC";
  EXPECT_THAT(plan("SELECT row FROM sessions WHERE app <> '' AND app = ?" + newest_first),
              AllOf(HasSubstr("sessions_by_app"), Not(HasSubstr("TEMP B-TREE"))));
  EXPECT_THAT(plan("SELECT row, id FROM sessions INDEXED BY sessions_by_age WHERE true" + newest_first),
              AllOf(HasSubstr("COVERING INDEX"), Not(HasSubstr("TEMP B-TREE"))));
}

TEST_F(SqliteStoreTest, RefusesChangesWhileItsFileIsNotWhereItWas) {
  store_ = SqliteStore::open({.folder = folder_.path(), .refused = tells()});
  write_new(*store_, "sess_1");
  run(store_->check_in_place());
  const std::filesystem::path aside = folder_.path() / "aside.db";
  std::filesystem::rename(file(), aside);
  for (const bool replaced : {false, true}) {
    if (replaced) std::filesystem::copy_file(aside, file());
    EXPECT_EQ(refusal(store_->create(new_session("sess_2"))), ErrorCode::store_read_only);
    EXPECT_EQ(refusal(store_->check_in_place()), ErrorCode::store_read_only);
    EXPECT_TRUE(run(store_->load("sess_1")));
  }
  std::filesystem::rename(aside, file());
  run(store_->check_in_place());
  run(store_->create(new_session("sess_2")));
  reopen();
  EXPECT_THAT(told_, ElementsAre(ErrorCode::store_read_only, ErrorCode::store_read_only))
      << "once for each refused transaction";
  EXPECT_TRUE(run(store_->load("sess_2")));
}

TEST_F(SqliteStoreTest, ListsByLabelBesideARowWhoseLabelsAreNoJson) {
  NewSession session = new_session("sess_1");
  session.record.labels = R"({"line":"1"})";
  run(open().create(session));
  write_new(*store_, "sess_2");
  close();
  run_sql("UPDATE sessions SET labels = '{broken' WHERE id = 'sess_2'");
  const SessionPage page = run(open().list({.labels = {{"line", "1"}}}, "", 10));
  ASSERT_THAT(page.sessions, SizeIs(1));
  EXPECT_EQ(page.sessions[0].id, "sess_1");
}

TEST_F(SqliteStoreTest, OpensAStoreThatItsFirstSchemaWrote) {
  // Written by Ledger(3) with six steps each and one more session, which was purged.
  std::filesystem::copy(SOJOURN_STORE_TESTDATA "/schema_1.db", file());
  Ledger ledger(3);
  MemoryStore same;
  ASSERT_TRUE(ledger.write(same, 6));
  ledger.check(open(), true);
  const SessionRecord old = run(store_->list({}, "", 1)).sessions.at(0);
  EXPECT_EQ(old.head.usage, Usage());
  EXPECT_TRUE(ledger.write(*store_, 3)) << "it cannot be written";
  ledger.check(reopen(), true);
  EXPECT_EQ(refusal(store_->create(new_session("sess_purged"))), ErrorCode::already_exists);
}

}  // namespace
}  // namespace sojourn::store
