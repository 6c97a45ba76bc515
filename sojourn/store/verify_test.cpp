#include "sojourn/store/verify.hpp"
#include "sojourn/base/limits.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sojourn/store/forwarding_store.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

using Kind = Finding::Kind;

const std::string id = "sess_1";

std::string hash_of(const std::string& text) {
  return to_hex(sha256(text));
}

// Writes event 2 (sets a and b), 3 (completes a task), 4 (sets a again, deletes b) and 5 (a log line).
void write_history(Store& store) {
  Writing session = write_new(store, id);
  const auto append = [&](Commit commit, std::string_view type, const std::string& data) {
    commit.events = {link(commit.head.chain, type, data)};
    session.write(store, commit);
  };
  Commit set = session.next({});
  set.state = {{"a", "1"}, {"b", "2"}};
  append(set, "state.changed", fmt::format(R"({{"state":{{"a":"{}","b":"{}"}}}})", hash_of("1"), hash_of("2")));

  Commit call = session.next({});
  call.tasks = {new_task("task_1", id, 1, "")};
  call.tasks[0].status = TaskStatus::completed;
  call.tasks[0].output = R"({"answer":42})";
  append(call, "call.completed", fmt::format(R"({{"task":"task_1","output":"{}"}})", hash_of(call.tasks[0].output)));

  Commit change = session.next({});
  change.state = {{"a", "3"}, {"b", std::nullopt}};
  append(change, "state.changed", fmt::format(R"({{"state":{{"a":"{}","b":null}}}})", hash_of("3")));
  append(session.next({}), "log", R"({"message":"hello"})");
}

TEST(Verify, FindsNothingWrongWithWhatWasWritten) {
  MemoryStore store;
  write_history(store);
  const VerifyReport report = run(verify(store, id));
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.session_id, id);
  EXPECT_EQ(report.events, 5u);
}

TEST(Verify, HoldsNothingAgainstWhatAnAppRecordsOfItsOwn) {
  MemoryStore store;
  Writing session = write_new(store, id);
  Commit commit = session.next({});
  commit.events = {link(commit.head.chain, "door.moved", R"({"state":{"door":"open"},"task":"t","output":"a"})")};
  session.write(store, commit);
  const VerifyReport report = run(verify(store, id));
  EXPECT_TRUE(report.ok()) << report.findings.front().message;
}

TEST(Verify, KnowsNoSessionThatIsNotThere) {
  MemoryStore store;
  EXPECT_EQ(refusal(verify(store, "sess_0")), ErrorCode::session_not_found);
}

TEST(Verify, ReportsOfManySessionsInTheirOrderAndLeavesOutThoseThatAreGone) {
  MemoryStore store;
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < 10; ++i) {
    ids.push_back("sess_" + std::to_string(i));
    Writing session = write_new(store, ids.back());
    session.write(store, session.next(std::vector<std::string>(10 - i, "log")));
  }
  ids.insert(ids.begin() + 5, "sess_gone");
  const std::vector<VerifyReport> reports = run(verify(store, ids));
  ASSERT_THAT(reports, SizeIs(10));
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(reports[i].session_id, "sess_" + std::to_string(i));
    EXPECT_EQ(reports[i].events, 11 - i);
    EXPECT_TRUE(reports[i].ok());
  }
}

TEST(Verify, ReadsPageAfterPage) {
  MemoryStore store;
  Writing session = write_new(store, id);
  session.write(store, session.next(std::vector<std::string>(600, "log")));
  EXPECT_EQ(run(verify(store, id)).events, 601u);
  EXPECT_TRUE(run(verify(store, id)).ok());
}

TEST(Verify, TakesBodiesAsDeepAsCallersMayNest) {
  MemoryStore store;
  Writing session = write_new(store, id);
  Commit commit = session.next({});
  const std::string deep = "{\"x\":" + std::string(60, '[') + std::string(60, ']') + "}";
  commit.events = {link(commit.head.chain, "custom", deep)};
  session.write(store, commit);
  EXPECT_TRUE(run(verify(store, id)).ok());
}

// A store whose file somebody alters behind its back.
class VerifyAltered : public testing::Test {
 protected:
  VerifyAltered() {
    with_store([](Store& store) { write_history(store); });
  }

  // Runs `sql` on the closed store's file, and verifies.
  VerifyReport after(const std::string& sql, const std::string& session_id = id) {
    Connection(folder_.path() / "sojourn.db", OpenMode::read_write).run(sql);
    VerifyReport report;
    with_store([&](Store& store) { report = run(verify(store, session_id)); });
    return report;
  }

  // That altering the store so is found, as exactly one finding.
  Finding finding_after(const std::string& sql) {
    VerifyReport report = after(sql);
    EXPECT_THAT(report.findings, SizeIs(1));
    return report.findings.empty() ? Finding() : report.findings.front();
  }

 private:
  template <class F>
  void with_store(F use) {
    const auto store = SqliteStore::open({.folder = folder_.path()});
    use(*store);
    run(store->close());
  }

  TemporaryFolder folder_;
};

std::vector<Kind> kinds(const VerifyReport& report) {
  std::vector<Kind> kinds;
  for (const Finding& finding : report.findings) kinds.push_back(finding.kind);
  return kinds;
}

TEST_F(VerifyAltered, FindsNothingWhereNothingWasAltered) {
  EXPECT_TRUE(after("SELECT 1").ok());
}

TEST_F(VerifyAltered, NamesAnEventWhoseBodyChanged) {
  const Finding finding = finding_after("UPDATE events SET body = replace(body, 'hello', 'hallo') WHERE seq = 5");
  EXPECT_EQ(finding.kind, Kind::altered);
  EXPECT_EQ(finding.seq, 5u);
  EXPECT_THAT(finding.message, HasSubstr("event 5"));
}

TEST_F(VerifyAltered, NamesAnEventOfTheMiddleWhoseBodyChanged) {
  const Finding finding = finding_after("UPDATE events SET body = replace(body, 'local', 'admin') WHERE seq = 3");
  EXPECT_EQ(finding.kind, Kind::altered);
  EXPECT_EQ(finding.seq, 3u);
}

TEST_F(VerifyAltered, NamesTheFirstEventWhoseHashChanged) {
  for (const std::uint64_t seq : {5u, 3u, 1u}) {
    const VerifyReport report = after(fmt::format("UPDATE events SET hash = zeroblob(32) WHERE seq = {}", seq));
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.findings.front().kind, Kind::altered);
    EXPECT_EQ(report.findings.front().seq, seq);
  }
}

TEST_F(VerifyAltered, NamesOnlyTheEventWhoseHashChanged) {
  const Finding finding = finding_after("UPDATE events SET hash = zeroblob(32) WHERE seq = 3");
  EXPECT_EQ(finding.kind, Kind::altered);
  EXPECT_EQ(finding.seq, 3u);
}

TEST_F(VerifyAltered, NamesAHashOfAnotherLength) {
  EXPECT_EQ(finding_after("UPDATE events SET hash = x'00' WHERE seq = 3").seq, 3u);
}

TEST_F(VerifyAltered, NamesAFirstEventThatIsMissing) {
  const Finding finding = finding_after("DELETE FROM events WHERE seq = 1");
  EXPECT_EQ(finding.kind, Kind::missing);
  EXPECT_EQ(finding.seq, 1u);
}

TEST_F(VerifyAltered, NamesAnEventDeletedFromTheMiddleAndStillReadsWhatFollows) {
  const VerifyReport report = after(
      "DELETE FROM events WHERE seq = 3; UPDATE events SET body = replace(body, 'hello', 'hallo') WHERE seq = 5");
  EXPECT_THAT(kinds(report), ElementsAre(Kind::missing, Kind::altered, Kind::output));
  EXPECT_EQ(report.findings[0].seq, 3u);
  EXPECT_EQ(report.findings[2].task, "task_1");
}

TEST_F(VerifyAltered, SaysThatTheNewestEventsAreMissing) {
  const Finding finding = finding_after("DELETE FROM events WHERE seq = 5");
  EXPECT_EQ(finding.kind, Kind::cut_off);
  EXPECT_EQ(finding.seq, 5u);
}

TEST_F(VerifyAltered, SaysThatAllEventsAreMissing) {
  const VerifyReport report = after("DELETE FROM events");
  EXPECT_THAT(kinds(report), ElementsAre(Kind::cut_off, Kind::state, Kind::output));
  EXPECT_EQ(report.findings.front().seq, 1u);
}

TEST_F(VerifyAltered, NamesEventsThatChangedPlaces) {
  const VerifyReport report = after(
      "UPDATE events SET seq = 99 WHERE seq = 4; UPDATE events SET seq = 4 WHERE seq = 5; "
      "UPDATE events SET seq = 5 WHERE seq = 99");
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.findings.front().kind, Kind::misplaced);
  EXPECT_EQ(report.findings.front().seq, 4u);
}

TEST_F(VerifyAltered, NamesABodyThatIsNoJsonObject) {
  for (const std::string body : {"{\"seq\":", "[1]", "", "{\"seq\":2} "}) {
    const VerifyReport report = after(fmt::format("UPDATE events SET body = '{}' WHERE seq = 2", body));
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.findings.front().kind, body.ends_with(' ') ? Kind::altered : Kind::malformed) << body;
    EXPECT_EQ(report.findings.front().seq, 2u);
  }
}

TEST_F(VerifyAltered, NamesAnEventThatWasAddedAtTheEnd) {
  const Finding finding = finding_after(
      "INSERT INTO events (session, seq, body, hash) SELECT session, 6, body, hash FROM events WHERE seq = 5");
  EXPECT_EQ(finding.kind, Kind::added);
  EXPECT_EQ(finding.seq, 6u);
}

TEST_F(VerifyAltered, NamesARowWithAnotherHash) {
  const Finding finding = finding_after("UPDATE sessions SET chain_hash = zeroblob(32)");
  EXPECT_EQ(finding.kind, Kind::head);
  EXPECT_EQ(finding.seq, 5u);
}

TEST_F(VerifyAltered, RefusesTheEventsOfAnotherSession) {
  const VerifyReport report = after("UPDATE sessions SET id = 'sess_2'", "sess_2");
  EXPECT_THAT(kinds(report), ElementsAre(Kind::altered));
  EXPECT_EQ(report.findings.front().seq, 1u);
}

TEST_F(VerifyAltered, NamesAStateRowThatChanged) {
  const Finding finding = finding_after("UPDATE state SET value = '4' WHERE key = 'a'");
  EXPECT_EQ(finding.kind, Kind::state);
  EXPECT_EQ(finding.key, "a");
  EXPECT_EQ(finding.seq, 4u);
}

TEST_F(VerifyAltered, NamesAStateRowThatWentBackToAnOlderValue) {
  EXPECT_EQ(finding_after("UPDATE state SET value = '1' WHERE key = 'a'").key, "a");
}

TEST_F(VerifyAltered, NamesAStateRowThatWasAdded) {
  const Finding finding = finding_after("INSERT INTO state (session, key, value) VALUES (1, 'c', '1')");
  EXPECT_EQ(finding.kind, Kind::state);
  EXPECT_EQ(finding.key, "c");
  EXPECT_EQ(finding.seq, 0u);
}

TEST_F(VerifyAltered, NamesADeletedStateRowThatIsBack) {
  const Finding finding = finding_after("INSERT INTO state (session, key, value) VALUES (1, 'b', '2')");
  EXPECT_EQ(finding.key, "b");
  EXPECT_EQ(finding.seq, 4u);
}

TEST_F(VerifyAltered, NamesAStateRowThatWasRemoved) {
  const Finding finding = finding_after("DELETE FROM state");
  EXPECT_EQ(finding.kind, Kind::state);
  EXPECT_EQ(finding.key, "a");
  EXPECT_EQ(finding.seq, 4u);
}

TEST_F(VerifyAltered, NamesATaskWhoseOutputChanged) {
  const Finding finding = finding_after("UPDATE tasks SET output = '{\"answer\":43}'");
  EXPECT_EQ(finding.kind, Kind::output);
  EXPECT_EQ(finding.task, "task_1");
  EXPECT_EQ(finding.seq, 3u);
}

TEST_F(VerifyAltered, NamesATaskThatWasRemoved) {
  const Finding finding = finding_after("DELETE FROM tasks");
  EXPECT_EQ(finding.kind, Kind::output);
  EXPECT_EQ(finding.task, "task_1");
}

TEST_F(VerifyAltered, NamesACompletedTaskThatNoEventKnows) {
  const Finding finding = finding_after(
      "INSERT INTO tasks SELECT 9, 'task_9', session, 9, function, '', request_hash, status, input, output, error, "
      "created_at, updated_at, started_at, ended_at, run_at, plan FROM tasks");
  EXPECT_EQ(finding.kind, Kind::output);
  EXPECT_EQ(finding.task, "task_9");
}

TEST_F(VerifyAltered, NamesARunningTaskThatNoEventKnows) {
  const std::string copy =
      "INSERT INTO tasks SELECT 9, 'task_9', session, 9, function, '', request_hash, {}, input, '{}', error, "
      "created_at, updated_at, started_at, ended_at, run_at, plan FROM tasks";
  EXPECT_EQ(finding_after(fmt::format(fmt::runtime(copy), 1, "null")).kind, Kind::call);
}

TEST_F(VerifyAltered, NamesAnAttemptAtAStepThatNoEventKnows) {
  const Finding finding = finding_after("INSERT INTO steps VALUES (1, 1, 1, 'paid', 1, 1, 0, 1, 0, 2, 3, 'null')");
  EXPECT_EQ(finding.kind, Kind::step);
  EXPECT_THAT(finding.message, HasSubstr("'paid'"));
}

TEST_F(VerifyAltered, BoundsWhatItLists) {
  std::string sql;
  for (int i = 0; i < 150; ++i) sql += fmt::format("INSERT INTO state VALUES (1, 'x{}', '1');", i);
  const VerifyReport report = after(sql);
  EXPECT_THAT(report.findings, SizeIs(VerifyReport::most_findings));
  EXPECT_EQ(report.more_findings, 50u);
}

// A session that goes on whenever somebody reads it.
class GoesOn final : public ForwardingStore {
 public:
  // What is read at once is at most `most_bytes`.
  GoesOn(Store& store, std::size_t most_bytes)
      : ForwardingStore(store), store_(store), most_bytes_(most_bytes), session_(id) {
    write_history(store_);
  }

  Async<std::optional<FullSession>> load_all(std::string session, std::size_t most_bytes) override {
    auto found = co_await store_.load_all(session, std::min(most_bytes, most_bytes_));
    co_await go_on();
    co_return found;
  }

  Async<std::vector<Event>> events(std::string session, std::uint64_t from, std::size_t limit) override {
    co_await go_on();
    co_return co_await store_.events(session, from, limit);
  }
  Async<std::optional<Snapshot>> load(std::string session) override {
    co_await go_on();
    co_return co_await store_.load(session);
  }
  Async<std::vector<TaskRecord>> tasks(std::string session, std::uint64_t from, std::size_t limit) override {
    auto found = co_await store_.tasks(session, from, limit);
    co_await go_on();
    co_return found;
  }
  Async<std::vector<StepRecord>> steps(std::string session, std::uint64_t from, std::size_t limit) override {
    auto found = co_await store_.steps(session, from, limit);
    co_await go_on();
    co_return found;
  }

 private:
  Async<void> go_on() {
    const SessionRecord record = (co_await store_.load(id))->record;
    const std::uint64_t number = record.version;
    const std::string value = std::to_string(number);
    TaskRecord task = new_task("task_of_version_" + value, id, number, "");
    task.status = TaskStatus::completed;
    task.output = value;
    Commit commit{.session_id = id, .epoch = 1, .version = record.version, .head = record.head};
    commit.events = {link(commit.head.chain, "call.completed",
                          fmt::format(R"({{"task":"{}","output":"{}","state":{{"a":"{}"}}}})", task.id,
                                      hash_of(task.output), hash_of(value)))};
    commit.state = {{"a", value}};
    commit.tasks = {std::move(task)};
    go_on_with_steps(commit);
    go_on_with_calls(commit, number);
    co_await store_.commit(std::move(commit));
  }

  // Ends the attempt that runs, and begins another.
  void go_on_with_steps(Commit& commit) {
    const auto tell = [&](std::string_view type, std::string_view us) {
      commit.events.push_back(
          link(commit.head.chain, type, fmt::format(R"({{"step":"s","attempt":{}{}}})", attempt_.attempt, us)));
    };
    if (attempt_.number > 0) {
      attempt_.status = StepStatus::completed;
      attempt_.ended_at = start_time;
      attempt_.ended_seq = commit.head.chain.seq + 1;
      tell("step.completed", ",\"us\":0");
      commit.steps.push_back(attempt_);
    }
    attempt_ = {.number = attempt_.number + 1, .name = "s", .attempt = attempt_.number + 1, .started_at = start_time};
    attempt_.started_seq = commit.head.chain.seq + 1;
    tell("step.started", "");
    commit.steps.push_back(attempt_);
    commit.head.step_count = attempt_.number;
  }

  // Ends the call that was accepted last, and accepts another.
  void go_on_with_calls(Commit& commit, std::uint64_t number) {
    if (!accepted_.id.empty()) {
      accepted_.status = TaskStatus::failed;
      accepted_.error = "{}";
      commit.events.push_back(
          link(commit.head.chain, "call.failed", fmt::format(R"({{"task":"{}"}})", accepted_.id)));
      commit.tasks.push_back(accepted_);
    }
    accepted_ = new_task(fmt::format("task_accepted_{}", number), id, 1'000'000 + number, "");
    commit.events.push_back(
        link(commit.head.chain, "call.accepted", fmt::format(R"({{"task":"{}"}})", accepted_.id)));
    commit.tasks.push_back(accepted_);
  }

  Store& store_;
  const std::size_t most_bytes_;
  Writing session_;
  StepRecord attempt_;   // that runs
  TaskRecord accepted_;  // that is not over
};

TEST(Verify, FindsNothingWrongWithASessionThatGoesOnMeanwhile) {
  for (const std::size_t most_bytes : {0uz, limits::mebibyte}) {
    MemoryStore memory;
    GoesOn store(memory, most_bytes);
    const VerifyReport report = run(verify(store, id));
    for (const Finding& finding : report.findings) ADD_FAILURE() << finding.message;
    EXPECT_GE(report.events, 5u);
  }
}

}  // namespace
}  // namespace sojourn::store
