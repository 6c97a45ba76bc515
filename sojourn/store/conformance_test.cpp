#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "sojourn/base/limits.hpp"
#include "sojourn/store/every_store_test.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/sqlite_store.hpp"

// What every store promises (store.hpp) of one session; of many it is in conformance_sessions_test.cpp.
namespace sojourn::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

MadeStore make_memory() {
  return {nullptr, std::make_unique<MemoryStore>()};
}

MadeStore make_sqlite() {
  auto folder = std::make_unique<TemporaryFolder>();
  auto store = SqliteStore::open({.folder = folder->path()});
  return {std::move(folder), std::move(store)};
}

INSTANTIATE_TEST_SUITE_P(Stores, EveryStore,
                         testing::Values(Kind{"Memory", make_memory}, Kind{"Sqlite", make_sqlite}),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(EveryStore, GivesBackEveryFieldOfASession) {
  NewSession session = new_session("sess_1");
  SessionRecord& record = session.record;
  record.context = R"({"part":"coin","größe":[1,2.5,null]})";
  record.setup = R"({"model":"m"})";
  record.labels = R"({"line":"7"})";
  record.metadata = R"({"x":1})";
  record.lifecycle = "assessment";
  record.idle_timeout = Seconds(60);
  record.lifetime = Seconds(86'400);
  record.owner = "server-1";
  record.epoch = 7;
  record.version = 99;
  record.head.last_call_at = start_time + Seconds(1);
  record.head.expires_at = start_time + Seconds(2);
  record.head.ended_at = start_time + Seconds(3);
  record.head.end_reason = "why";
  record.head.error = R"({"code":"x"})";
  record.head.call_count = 3;
  record.head.usage = {Microseconds(1), Microseconds(2), Microseconds(3), 4, 5, 6};
  session.state = {{"a", "1"}, {"b", R"("two")"}};
  run(store().create(session));

  const Snapshot snapshot = run(store().load("sess_1")).value();
  record.version = 1;
  EXPECT_EQ(snapshot.record, record);
  EXPECT_EQ(snapshot.state, (std::map<std::string, JsonText>{{"a", "1"}, {"b", R"("two")"}}));
  EXPECT_EQ(run(store().events("sess_1", 1, 10)), session.events);
}

TEST_P(EveryStore, KeepsBytesAsTheyWere) {
  const std::string odd = std::string("nul \0 and \xFF broken UTF-8, 'quotes' \"too\"", 40);
  NewSession session = new_session("sess_1");
  session.state = {{odd, odd}};
  session.record.user = odd;
  run(store().create(session));

  const Snapshot snapshot = run(store().load("sess_1")).value();
  EXPECT_EQ(snapshot.record.user, odd);
  EXPECT_EQ(snapshot.state.at(odd), odd);
}

TEST_P(EveryStore, KnowsNothingOfASessionThatWasNotCreated) {
  EXPECT_EQ(run(store().load("sess_0")), std::nullopt);
  EXPECT_THAT(run(store().events("sess_0", 1, 10)), IsEmpty());
  EXPECT_THAT(run(store().tasks("sess_0", 1, 10)), IsEmpty());
  EXPECT_EQ(run(store().task("task_0")), std::nullopt);
  EXPECT_EQ(run(store().task_by_key("sess_0", "k")), std::nullopt);
  EXPECT_EQ(refusal(store().adopt("sess_0", "me")), ErrorCode::session_not_found);
  EXPECT_EQ(refusal(store().commit({.session_id = "sess_0", .epoch = 1, .version = 1})),
            ErrorCode::session_not_found);
}

TEST_P(EveryStore, RefusesASecondSessionOfTheSameId) {
  run(store().create(new_session("sess_1")));
  const Snapshot before = run(store().load("sess_1")).value();
  NewSession second = new_session("sess_1");
  second.record.app = "other";
  second.state = {{"a", "1"}};
  EXPECT_EQ(refusal(store().create(second)), ErrorCode::already_exists);
  expect_unchanged(before, 1, 0);
}

TEST_P(EveryStore, CountsVersionsUpAndKeepsWhatEachCommitBrought) {
  Writing session = write_new(store(), "sess_1");
  EXPECT_EQ(session.version, 1u);

  Commit commit = session.next({"one", "two"});
  commit.head.stage = "running";
  commit.head.call_count = 1;
  commit.head.usage = {Microseconds(6), Microseconds(5), Microseconds(4), 3, 2, 1};
  commit.head.last_call_at = start_time + Seconds(5);
  commit.state = {{"counter", "1"}};
  EXPECT_EQ(session.write(store(), commit), 2u);

  const Snapshot snapshot = run(store().load("sess_1")).value();
  EXPECT_EQ(snapshot.record.version, 2u);
  EXPECT_EQ(snapshot.record.head, commit.head);
  EXPECT_EQ(snapshot.state, (std::map<std::string, JsonText>{{"counter", "1"}}));
  const std::vector<Event> events = run(store().events("sess_1", 1, 10));
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_EQ(events[2], commit.events[1]);
}

TEST_P(EveryStore, KeepsEveryFieldOfTheHeadAlsoWhenItGoesBack) {
  Writing session = write_new(store(), "sess_1");
  Commit ended = session.next({"end"});
  ended.head.status = SessionStatus::failed;
  ended.head.ended_at = start_time;
  ended.head.end_reason = "reason";
  ended.head.error = R"({"code":"worker_lost"})";
  ended.head.expires_at = start_time;
  session.write(store(), ended);
  EXPECT_EQ(run(store().load("sess_1"))->record.head, ended.head);

  Commit again = session.next({"again"});
  again.head.status = SessionStatus::active;
  again.head.ended_at = std::nullopt;
  again.head.end_reason = "";
  again.head.error = "null";
  again.head.expires_at = std::nullopt;
  session.write(store(), again);
  EXPECT_EQ(run(store().load("sess_1"))->record.head, again.head);
}

TEST_P(EveryStore, SetsReplacesAndDeletesState) {
  Writing session = write_new(store(), "sess_1");
  Commit set = session.next({});
  set.state = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"never", std::nullopt}};
  session.write(store(), set);
  Commit change = session.next({});
  change.state = {{"a", "10"}, {"b", std::nullopt}, {"d", "4"}, {"d", "5"}, {"e", "6"}, {"e", std::nullopt}};
  session.write(store(), change);
  EXPECT_EQ(run(store().load("sess_1"))->state,
            (std::map<std::string, JsonText>{{"a", "10"}, {"c", "3"}, {"d", "5"}}));
}

TEST_P(EveryStore, KeepsTheStateOfSessionsApart) {
  Writing one = write_new(store(), "sess_1");
  Writing two = write_new(store(), "sess_2");
  Commit first = one.next({});
  first.state = {{"k", "1"}};
  one.write(store(), first);
  Commit second = two.next({});
  second.state = {{"k", "2"}};
  two.write(store(), second);
  EXPECT_EQ(run(store().load("sess_1"))->state.at("k"), "1");
  EXPECT_EQ(run(store().load("sess_2"))->state.at("k"), "2");
}

TEST_P(EveryStore, RefusesACommitOfAnotherEpochAndChangesNothing) {
  Writing session = write_new(store(), "sess_1");
  const Snapshot before = run(store().load("sess_1")).value();
  for (const std::uint64_t epoch : {0u, 2u}) {
    Commit commit = session.next_of_everything();
    commit.epoch = epoch;
    EXPECT_EQ(refusal(store().commit(commit)), ErrorCode::fenced);
    expect_unchanged(before, 1, 0);
  }
}

TEST_P(EveryStore, RefusesACommitOnAnotherVersionAndChangesNothing) {
  Writing session = write_new(store(), "sess_1");
  const Snapshot before = run(store().load("sess_1")).value();
  for (const std::uint64_t version : {0u, 2u}) {
    Commit commit = session.next_of_everything();
    commit.version = version;
    EXPECT_EQ(refusal(store().commit(commit)), ErrorCode::conflict);
    expect_unchanged(before, 1, 0);
  }
}

TEST_P(EveryStore, RefusesEventsThatDoNotGoOnFromTheHeadAndChangesNothing) {
  Writing session = write_new(store(), "sess_1");
  const Snapshot before = run(store().load("sess_1")).value();
  Commit again = session.next_of_everything();
  again.events[0].seq = 1;
  Commit gap = session.next_of_everything();
  gap.events[0].seq = 3;
  gap.head.chain.seq = 3;
  Commit other_head = session.next_of_everything();
  other_head.head.chain.hash = sha256("other");
  Commit no_events = session.next_of_everything();
  no_events.events.clear();
  for (const Commit& commit : {again, gap, other_head, no_events}) {
    EXPECT_EQ(refusal(store().commit(commit)), ErrorCode::internal_error);
    expect_unchanged(before, 1, 0);
  }
  NewSession session_2 = new_session("sess_2");
  session_2.events[0].seq = 2;
  EXPECT_EQ(refusal(store().create(session_2)), ErrorCode::internal_error);
  EXPECT_EQ(run(store().load("sess_2")), std::nullopt);
}

TEST_P(EveryStore, GivesThePreviousOwnersEpochUpAtAdoption) {
  Writing session = write_new(store(), "sess_1");
  session.write(store(), session.next_of_everything());

  const Snapshot adopted = run(store().adopt("sess_1", "server-2"));
  EXPECT_EQ(adopted.record.owner, "server-2");
  EXPECT_EQ(adopted.record.epoch, 2u);
  EXPECT_EQ(adopted.record.version, 2u);
  EXPECT_THAT(adopted.resources, SizeIs(1));
  EXPECT_THAT(adopted.open_tasks, SizeIs(1));
  EXPECT_THAT(adopted.state, SizeIs(1));
  expect_same(run(store().load("sess_1")).value(), adopted);

  EXPECT_EQ(refusal(store().commit(session.next({"late"}))), ErrorCode::fenced);
  session.epoch = 2;
  EXPECT_EQ(session.write(store(), session.next({"mine"})), 3u);
}

TEST_P(EveryStore, InsertsAndReplacesTasks) {
  Writing session = write_new(store(), "sess_1");
  TaskRecord task = new_task("task_1", "sess_1", 1, "key");
  Commit accepted = session.next({});
  accepted.tasks = {task};
  session.write(store(), accepted);
  EXPECT_EQ(run(store().task("task_1")), task);
  EXPECT_THAT(run(store().load("sess_1"))->open_tasks, ElementsAre(task));

  task.status = TaskStatus::completed;
  task.function = "other";
  task.input = "[1]";
  task.output = R"({"answer":42})";
  task.error = R"({"code":"no"})";
  task.request_hash = sha256("other");
  task.idempotency_key = "another";
  task.seq = 2;
  task.created_at += Seconds(1);
  task.updated_at += Seconds(1);
  task.started_at = task.created_at;
  task.ended_at = task.updated_at;
  Commit completed = session.next({});
  completed.tasks = {task};
  session.write(store(), completed);
  EXPECT_EQ(run(store().task("task_1")), task);
  EXPECT_THAT(run(store().load("sess_1"))->open_tasks, IsEmpty());
  EXPECT_EQ(run(store().task_by_key("sess_1", "another")), task);
  EXPECT_EQ(run(store().task_by_key("sess_1", "key")), std::nullopt);
}

TaskRecord scheduled_task(const std::string& id, Seconds after) {
  TaskRecord task = new_task(id, "sess_1", 0, "");
  task.status = TaskStatus::received;
  task.created_at = start_time;  // of one moment they come in the order in which they were accepted
  task.run_at = start_time + after;
  task.plan = R"({"actor":"me"})";
  return task;
}

TEST_P(EveryStore, KeepsScheduledCallsApartUntilTheyGetTheirNumber) {
  Writing session = write_new(store(), "sess_1");
  Commit accepted = session.next({});
  accepted.tasks = {new_task("task_open", "sess_1", 1, ""), scheduled_task("task_z", Seconds(60)),
                    scheduled_task("task_a", Seconds(60)), scheduled_task("task_first", Seconds(30))};
  accepted.tasks[2].created_at += Microseconds(1);
  session.write(store(), accepted);
  EXPECT_EQ(run(store().task("task_z")), accepted.tasks[1]);

  const Snapshot snapshot = run(store().load("sess_1")).value();
  EXPECT_THAT(snapshot.open_tasks, ElementsAre(accepted.tasks[0]));
  EXPECT_THAT(snapshot.scheduled, ElementsAre(ScheduledCall{"task_first", start_time + Seconds(30)},
                                              ScheduledCall{"task_z", start_time + Seconds(60)},
                                              ScheduledCall{"task_a", start_time + Seconds(60)}));
  const Leftovers leftovers = run(store().leftovers());
  EXPECT_THAT(leftovers.open_tasks, ElementsAre(accepted.tasks[0]));
  EXPECT_THAT(leftovers.scheduled, ElementsAre(ScheduledSession{"sess_1", start_time + Seconds(30), 3}));

  Commit taken_up = session.next({});
  taken_up.tasks = {accepted.tasks[3], accepted.tasks[2]};
  taken_up.tasks[0].seq = 2;
  taken_up.tasks[1].status = TaskStatus::cancelled;  // before its time
  session.write(store(), taken_up);
  EXPECT_THAT(run(store().load("sess_1"))->open_tasks, ElementsAre(accepted.tasks[0], taken_up.tasks[0]));
  EXPECT_THAT(run(store().leftovers()).scheduled,
              ElementsAre(ScheduledSession{"sess_1", start_time + Seconds(60), 1}));
}

TEST_P(EveryStore, CreatesASessionWithItsFirstTasks) {
  NewSession session = new_session("sess_1");
  session.tasks = {new_task("task_1", "sess_1", 1, "key")};
  run(store().create(session));
  EXPECT_THAT(run(store().load("sess_1"))->open_tasks, ElementsAre(session.tasks[0]));
  EXPECT_EQ(run(store().task_by_key("sess_1", "key")), session.tasks[0]);
}

TEST_P(EveryStore, RefusesASecondTaskWithTheSameKeyAndChangesNothing) {
  Writing session = write_new(store(), "sess_1");
  Commit first = session.next({});
  first.tasks = {new_task("task_1", "sess_1", 1, "key")};
  session.write(store(), first);
  const Snapshot before = run(store().load("sess_1")).value();

  Commit second = session.next_of_everything();
  second.tasks = {new_task("task_2", "sess_1", 2, ""), new_task("task_3", "sess_1", 3, "key")};
  EXPECT_EQ(refusal(store().commit(second)), ErrorCode::already_exists);
  expect_unchanged(before, 1, 1);
  EXPECT_EQ(run(store().task("task_2")), std::nullopt);

  Commit twice = session.next_of_everything();
  twice.tasks = {new_task("task_4", "sess_1", 4, "new"), new_task("task_5", "sess_1", 5, "new")};
  EXPECT_EQ(refusal(store().commit(twice)), ErrorCode::already_exists);
  expect_unchanged(before, 1, 1);
}

TEST_P(EveryStore, FindsASessionByTheKeyItWasOpenedWith) {
  NewSession session = new_session("sess_1");
  session.opening_key = "k";
  run(store().create(session));
  run(store().create(new_session("sess_2")));
  EXPECT_EQ(run(store().session_opened_by("k")), "sess_1");
  EXPECT_EQ(run(store().session_opened_by("other")), "");
  EXPECT_EQ(run(store().session_opened_by("")), "");
}

TEST_P(EveryStore, RefusesASecondSessionOfTheSameOpeningKey) {
  NewSession session = new_session("sess_1");
  session.opening_key = "k";
  run(store().create(session));
  NewSession second = new_session("sess_2");
  second.opening_key = "k";
  EXPECT_EQ(refusal(store().create(second)), ErrorCode::already_exists);
  EXPECT_EQ(run(store().load("sess_2")), std::nullopt);
}

TEST_P(EveryStore, LetsEverySessionUseTheSameKeyAndAnyTaskNone) {
  Writing one = write_new(store(), "sess_1");
  Writing two = write_new(store(), "sess_2");
  Commit first = one.next({});
  first.tasks = {new_task("task_1", "sess_1", 1, "key"), new_task("task_2", "sess_1", 2, ""),
                 new_task("task_3", "sess_1", 3, "")};
  one.write(store(), first);
  Commit second = two.next({});
  second.tasks = {new_task("task_4", "sess_2", 1, "key")};
  two.write(store(), second);
  EXPECT_EQ(run(store().task_by_key("sess_1", "key"))->id, "task_1");
  EXPECT_EQ(run(store().task_by_key("sess_2", "key"))->id, "task_4");
  EXPECT_EQ(run(store().task_by_key("sess_1", "")), std::nullopt);
}

TEST_P(EveryStore, RefusesToTakeATaskOfAnotherSession) {
  Writing one = write_new(store(), "sess_1");
  Writing two = write_new(store(), "sess_2");
  Commit first = one.next({});
  first.tasks = {new_task("task_1", "sess_1", 1, "")};
  one.write(store(), first);
  const Snapshot before = run(store().load("sess_2")).value();
  Commit theft = two.next_of_everything();
  theft.tasks = {new_task("task_1", "sess_2", 1, "")};
  EXPECT_EQ(refusal(store().commit(theft)), ErrorCode::already_exists);
  expect_unchanged(before, 1, 0);
  EXPECT_EQ(run(store().task("task_1"))->session_id, "sess_1");
}

TEST_P(EveryStore, ListsTasksBySeqInRanges) {
  Writing session = write_new(store(), "sess_1");
  for (const std::uint64_t seq : {3u, 1u, 2u, 4u}) {
    Commit commit = session.next({});
    commit.tasks = {new_task("task_" + std::to_string(seq), "sess_1", seq, "")};
    if (seq == 2) commit.tasks[0].status = TaskStatus::failed;
    session.write(store(), commit);
  }
  const auto seqs = [&](std::uint64_t from, std::size_t limit) {
    std::vector<std::uint64_t> found;
    for (const TaskRecord& task : run(store().tasks("sess_1", from, limit))) found.push_back(task.seq);
    return found;
  };
  EXPECT_THAT(seqs(0, 10), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(seqs(2, 2), ElementsAre(2, 3));
  EXPECT_THAT(seqs(5, 10), IsEmpty());
  EXPECT_THAT(seqs(1, 0), IsEmpty());
  std::vector<std::uint64_t> open;
  for (const TaskRecord& task : run(store().load("sess_1"))->open_tasks) open.push_back(task.seq);
  EXPECT_THAT(open, ElementsAre(1, 3, 4));
}

TEST_P(EveryStore, ReadsEventsInRanges) {
  Writing session = write_new(store(), "sess_1");
  session.write(store(), session.next({"two", "three"}));
  session.write(store(), session.next({"four"}));
  Writing other = write_new(store(), "sess_2");
  const auto seqs = [&](std::uint64_t from, std::size_t limit) {
    std::vector<std::uint64_t> found;
    for (const Event& event : run(store().events("sess_1", from, limit))) found.push_back(event.seq);
    return found;
  };
  EXPECT_THAT(seqs(1, 10), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(seqs(0, 2), ElementsAre(1, 2));
  EXPECT_THAT(seqs(3, 1), ElementsAre(3));
  EXPECT_THAT(seqs(5, 10), IsEmpty());
  EXPECT_THAT(seqs(std::numeric_limits<std::uint64_t>::max(), 10), IsEmpty());
  EXPECT_THAT(seqs(1, std::numeric_limits<std::size_t>::max()), SizeIs(4));
}

TEST_P(EveryStore, ReadsAllOfASessionUpToABoundOfItsTexts) {
  Writing session = write_new(store(), "sess_1");
  write_new(store(), "sess_2");
  Commit called = session.next({"two", "three"});
  called.state = {{"a", "1"}};
  called.tasks = {new_task("task_2", "sess_1", 2, ""), new_task("task_1", "sess_1", 1, "")};
  session.write(store(), called);
  const std::size_t no_bound = limits::mebibyte;

  const auto all = run(store().load_all("sess_1", no_bound));
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->whole);
  EXPECT_EQ(all->snapshot.record, run(store().load("sess_1"))->record);
  EXPECT_EQ(all->snapshot.state, run(store().load("sess_1"))->state);
  EXPECT_EQ(all->tasks, run(store().tasks("sess_1", 0, 10)));
  EXPECT_EQ(all->events, run(store().events("sess_1", 1, 10)));
  EXPECT_THAT(all->events, SizeIs(3));

  std::size_t texts = 0;
  for (const TaskRecord& task : all->tasks) texts += task.input.size() + task.output.size() + task.error.size();
  for (const Event& event : all->events) texts += event.body.size();
  EXPECT_TRUE(run(store().load_all("sess_1", texts))->whole);
  const auto part = run(store().load_all("sess_1", texts - 1));
  EXPECT_FALSE(part->whole);
  EXPECT_THAT(part->tasks, SizeIs(2));
  EXPECT_THAT(part->events, SizeIs(2));
  EXPECT_FALSE(run(store().load_all("sess_3", no_bound)));
}

TEST_P(EveryStore, KeepsResourcesUntilTheyAreReleased) {
  Writing session = write_new(store(), "sess_1");
  const ResourceRecord file{"sess_1", "file", "path", 10, start_time, R"({"path":"/x"})"};
  const ResourceRecord board{"sess_1", "board", "board", 0, start_time, "null"};
  ResourceRecord grown = file;
  grown.cost = 20;
  Commit added = session.next({});
  added.resources_added = {file, board};
  session.write(store(), added);
  EXPECT_THAT(run(store().load("sess_1"))->resources, ElementsAre(file, board));

  Commit changed = session.next({});
  changed.resources_added = {grown};
  session.write(store(), changed);
  EXPECT_THAT(run(store().load("sess_1"))->resources, ElementsAre(grown, board));

  Commit released = session.next({});
  released.resources_added = {{"sess_1", "brief", "timer", 0, start_time, "null"}};
  released.resources_released = {"file", "brief", "unknown"};
  session.write(store(), released);
  EXPECT_THAT(run(store().load("sess_1"))->resources, ElementsAre(board));
}

}  // namespace
}  // namespace sojourn::store
