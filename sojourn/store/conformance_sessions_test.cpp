#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/this_coro.hpp>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/every_store_test.hpp"
#include "sojourn/store/purge.hpp"

// What every store promises (store.hpp) of many sessions: lists, leftovers, purges, commits at the same time, the
// end.
namespace sojourn::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST_P(EveryStore, ListsNewestFirstInPagesThatNewSessionsDoNotShift) {
  for (int i = 1; i <= 5; ++i) write_new(store(), "sess_" + std::to_string(i));
  const SessionPage first = run(store().list({}, "", 2));
  ASSERT_THAT(first.sessions, SizeIs(2));
  EXPECT_EQ(first.sessions[0].id, "sess_5");
  EXPECT_EQ(first.sessions[1].id, "sess_4");
  write_new(store(), "sess_6");
  const SessionPage second = run(store().list({}, first.next_cursor, 2));
  ASSERT_THAT(second.sessions, SizeIs(2));
  EXPECT_EQ(second.sessions[0].id, "sess_3");
  EXPECT_EQ(second.sessions[1].id, "sess_2");
  const SessionPage third = run(store().list({}, second.next_cursor, 2));
  ASSERT_THAT(third.sessions, SizeIs(1));
  EXPECT_EQ(third.sessions[0].id, "sess_1");
  EXPECT_EQ(third.next_cursor, "");
  EXPECT_EQ(run(store().list({}, "", 6)).next_cursor, "") << "a full last page needs no next one";
}

TEST_P(EveryStore, ListsWholeRecords) {
  NewSession session = new_session("sess_1");
  session.record.context = R"({"a":1})";
  session.record.setup = "[2]";
  run(store().create(session));
  EXPECT_THAT(run(store().list({}, "", 10)).sessions, ElementsAre(session.record));
}

TEST_P(EveryStore, RefusesACursorThatNoPageGave) {
  write_new(store(), "sess_1");
  for (const std::string cursor :
       {"x", "-1", "0", "1x", " 1", "01", "1 OR 1=1", "99999999999999999999999", "1", "1.", ".1", "1.0", "1.-1",
        "1.01", "01.1", "1.1x", "1.1.1", "1.99999999999999999999999"}) {
    EXPECT_EQ(refusal(store().list({}, cursor, 10)), ErrorCode::invalid_request) << cursor;
  }
}

TEST_P(EveryStore, ListsTheSessionsThatFitEveryFilter) {
  const auto add = [&](const std::string& id, auto change) {
    NewSession session = new_session(id);
    change(session.record);
    run(store().create(session));
  };
  add("sess_a", [](SessionRecord& r) { r.app = "app1", r.user = "ann", r.head.stage = "running"; });
  add("sess_b", [](SessionRecord& r) { r.app = "app1", r.user = "bob", r.labels = R"({"line":"1","a.\"b":"x"})"; });
  add("sess_c", [](SessionRecord& r) { r.app = "app2", r.user = "ann", r.labels = R"({"line":"2"})"; });
  add("sess_d",
      [](SessionRecord& r) { r.head.status = SessionStatus::ended, r.created_at = start_time + Seconds(9); });
  add("sess_e", [](SessionRecord& r) { r.app = "", r.user = "", r.labels = R"({"line":"1"})"; });

  EXPECT_THAT(ids({}), ElementsAre("sess_d", "sess_e", "sess_c", "sess_b", "sess_a")) << "by age";
  EXPECT_THAT(ids({.status = SessionStatus::ended}), ElementsAre("sess_d"));
  EXPECT_THAT(ids({.status = SessionStatus::active}, 1), ElementsAre("sess_e", "sess_c", "sess_b", "sess_a"));
  EXPECT_THAT(ids({.stage = "running"}), ElementsAre("sess_a"));
  EXPECT_THAT(ids({.app = "app1"}, 1), ElementsAre("sess_b", "sess_a"));
  EXPECT_THAT(ids({.user = "ann"}), ElementsAre("sess_c", "sess_a"));
  EXPECT_THAT(ids({.app = "app1", .user = "ann"}), ElementsAre("sess_a"));
  EXPECT_THAT(ids({.labels = {{"line", "1"}}}), ElementsAre("sess_e", "sess_b"));
  EXPECT_THAT(ids({.labels = {{"line", "1"}, {"a.\"b", "x"}}}), ElementsAre("sess_b"));
  EXPECT_THAT(ids({.labels = {{"line", "3"}}}), IsEmpty());
  EXPECT_THAT(ids({.created_from = start_time + Seconds(9)}), ElementsAre("sess_d"));
  EXPECT_THAT(ids({.created_before = start_time + Seconds(9)}), SizeIs(4));
  EXPECT_THAT(ids({.created_from = start_time, .created_before = start_time}), IsEmpty());
  EXPECT_THAT(ids({.id_text = "ss_c"}), ElementsAre("sess_c"));
  EXPECT_THAT(ids({.id_text = "%"}), IsEmpty());
}

TEST_P(EveryStore, PagesThroughWhatFitsSeveralFiltersAndCountsIt) {
  std::vector<std::string> wanted;
  for (int i = 0; i < 40; ++i) {
    NewSession session = new_session("sess_" + std::to_string(100 + i));
    session.record.created_at = start_time + Seconds(i / 10);  // ten at each instant
    session.record.user = i % 2 == 0 ? "ann" : "bob";
    session.record.head.stage = i % 3 == 0 ? "running" : "created";
    session.record.labels = i % 4 == 0 ? R"({"line":"1"})" : "{}";
    if (i % 12 == 0) wanted.insert(wanted.begin(), session.record.id);
    run(store().create(session));
  }
  const SessionQuery query{.stage = "running", .user = "ann", .labels = {{"line", "1"}}};
  for (const std::size_t limit : {1, 2, 3, 100}) EXPECT_EQ(ids(query, limit), wanted) << limit;
  EXPECT_EQ(run(store().count(query)), wanted.size());
  EXPECT_EQ(run(store().count({})), 40u);
  EXPECT_EQ(run(store().count({.created_from = start_time + Seconds(1), .created_before = start_time + Seconds(2)})),
            10u);
  EXPECT_THAT(ids({.created_from = start_time + Seconds(1), .created_before = start_time + Seconds(2)}, 3),
              SizeIs(10));
}

TEST_P(EveryStore, GoesOnAfterAnyNumberOfThoseThatFit) {
  for (int i = 1; i <= 5; ++i) write_new(store(), "sess_" + std::to_string(i));
  EXPECT_EQ(run(store().cursor_after({}, 0)), "");
  const std::optional<std::string> cursor = run(store().cursor_after({}, 2));
  EXPECT_EQ(run(store().list({}, cursor.value(), 1)).sessions.at(0).id, "sess_3");
  EXPECT_THAT(run(store().list({}, run(store().cursor_after({}, 5)).value(), 1)).sessions, IsEmpty());
  EXPECT_EQ(run(store().cursor_after({}, 6)), std::nullopt);
  EXPECT_EQ(run(store().cursor_after({.app = "none"}, 1)), std::nullopt);
}

TEST_P(EveryStore, KeepsTheAttemptsAtSteps) {
  Writing session = write_new(store(), "sess_1");
  const auto attempt = [&](std::uint64_t number, std::string name, std::uint64_t of_name, StepStatus status,
                           std::uint64_t ended_seq, int seconds) {
    StepRecord step{.number = number, .name = std::move(name), .attempt = of_name, .status = status};
    step.started_at = start_time;
    step.started_seq = number;
    step.ended_seq = ended_seq;
    step.duration = Seconds(seconds);
    if (status != StepStatus::running) step.ended_at = start_time + Seconds(seconds);
    if (status == StepStatus::failed) step.error = R"({"message":"no"})";
    return step;
  };
  const auto write = [&](std::vector<StepRecord> steps) {
    Commit commit = session.next({});
    commit.steps = std::move(steps);
    commit.head.step_count = 5;
    session.write(store(), commit);
  };
  write({attempt(1, "search", 1, StepStatus::running, 0, 0), attempt(2, "effort", 1, StepStatus::running, 0, 0),
         attempt(3, "search", 2, StepStatus::running, 0, 0), attempt(4, "risks", 1, StepStatus::failed, 9, 4)});
  write({attempt(3, "search", 2, StepStatus::completed, 20, 3), attempt(2, "effort", 1, StepStatus::completed, 10, 2),
         attempt(5, "effort", 2, StepStatus::completed, 30, 5)});

  const std::vector<StepRecord> all = run(store().steps("sess_1", 1, 100));
  ASSERT_THAT(all, SizeIs(5));
  EXPECT_EQ(all[0], attempt(1, "search", 1, StepStatus::running, 0, 0));
  EXPECT_EQ(all[2], attempt(3, "search", 2, StepStatus::completed, 20, 3));
  EXPECT_EQ(all[3].error, R"({"message":"no"})");
  EXPECT_THAT(run(store().steps("sess_1", 3, 2)), ElementsAre(all[2], all[3]));
  EXPECT_THAT(run(store().steps("sess_none", 1, 10)), IsEmpty());
  EXPECT_THAT(run(store().latest_attempts("sess_1", {"effort", "search", "none"})),
              ElementsAre(all[0], all[2], all[4]));
  const StepSummary summary = run(store().step_summary("sess_1"));
  EXPECT_THAT(summary.completed, ElementsAre("effort", "search"));
  EXPECT_EQ(summary.timing, (std::map<std::string, Microseconds>{{"effort", Seconds(5)}, {"search", Seconds(3)}}));
  EXPECT_EQ(run(store().load("sess_1"))->record.head.step_count, 5u);
  EXPECT_EQ(run(store().step_summary("sess_none")), StepSummary());
}

TEST_P(EveryStore, ListsByWhatCommitsChanged) {
  Writing session = write_new(store(), "sess_1");
  Commit commit = session.next({});
  commit.head.status = SessionStatus::expired;
  commit.head.stage = "error";
  session.write(store(), commit);
  EXPECT_THAT(ids({.status = SessionStatus::active}), IsEmpty());
  EXPECT_THAT(ids({.stage = "created"}), IsEmpty());
  EXPECT_THAT(ids({.status = SessionStatus::expired, .stage = "error"}), ElementsAre("sess_1"));
}

TEST_P(EveryStore, TellsWhatWasLeftOpen) {
  Writing busy = write_new(store(), "sess_busy");
  busy.write(store(), busy.next_of_everything());
  write_new(store(), "sess_idle");
  Writing ended = write_new(store(), "sess_ended");
  Commit last = ended.next({});
  last.head.status = SessionStatus::ended;
  last.tasks = {new_task("task_done", "sess_ended", 1, "")};
  last.tasks[0].status = TaskStatus::cancelled;
  ended.write(store(), last);

  const Leftovers leftovers = run(store().leftovers());
  std::vector<std::string> active;
  for (const SessionRecord& record : leftovers.active_sessions) active.push_back(record.id);
  EXPECT_THAT(active, ElementsAre("sess_busy", "sess_idle"));
  const Snapshot snapshot = run(store().load("sess_busy")).value();
  EXPECT_EQ(leftovers.open_tasks, snapshot.open_tasks);
  EXPECT_EQ(leftovers.resources, snapshot.resources);
  EXPECT_THAT(leftovers.resources, SizeIs(1));
}

TEST_P(EveryStore, PurgesWholeSessionsThatFitAndAreOver) {
  for (const std::string id : {"sess_1", "sess_2", "sess_3"}) {
    NewSession created = new_session(id);
    created.record.labels = to_text(JsonObject{{"number", id}});
    run(store().create(created));
    Writing session(id);
    Commit commit = session.next_of_everything();
    if (id != "sess_2") commit.head.status = SessionStatus::ended;
    session.write(store(), commit);
  }
  EXPECT_EQ(run(purge(store(), {.id_text = "sess_1"})), 1u);
  EXPECT_EQ(run(store().load("sess_1")), std::nullopt);
  EXPECT_THAT(run(store().events("sess_1", 1, 10)), IsEmpty());
  EXPECT_THAT(run(store().tasks("sess_1", 0, 10)), IsEmpty());
  EXPECT_THAT(run(store().steps("sess_1", 0, 10)), IsEmpty());
  EXPECT_THAT(ids({.labels = {{"number", "sess_1"}}}), IsEmpty());
  EXPECT_EQ(run(store().task("task_of_sess_1")), std::nullopt);
  EXPECT_THAT(ids({}), ElementsAre("sess_3", "sess_2"));

  EXPECT_EQ(run(purge(store(), {})), 1u);
  EXPECT_THAT(ids({}), ElementsAre("sess_2"));
  EXPECT_EQ(run(purge(store(), {})), 0u);
  EXPECT_THAT(run(store().leftovers()).resources, SizeIs(1));
  EXPECT_EQ(refusal(store().commit({.session_id = "sess_1", .epoch = 1, .version = 2})),
            ErrorCode::session_not_found);
}

TEST_P(EveryStore, PurgesMoreThanItTakesAtOnce) {
  for (int i = 0; i < 50; ++i) {
    NewSession session = new_session("sess_" + std::to_string(i));
    session.record.head.status = SessionStatus::ended;
    run(store().create(session));
  }
  EXPECT_EQ(run(purge(store(), {})), 50u);
  EXPECT_THAT(ids({}), IsEmpty());
}

TEST_P(EveryStore, TellsWhatMayBePurgedPageAfterPageAndLooksAtNothingTwice) {
  for (int i = 0; i < 9; ++i) {
    NewSession session = new_session("sess_" + std::to_string(i));
    if (i % 3 != 0) session.record.head.status = SessionStatus::ended;
    run(store().create(session));
  }
  std::vector<std::string> found;
  std::vector<std::size_t> pages;
  std::uint64_t place = 0;
  do {
    const Purgeable page = run(store().purgeable({}, 4, place));
    for (const Purgeable::Session& session : page.sessions) {
      found.push_back(session.id);
      EXPECT_EQ(session.events, 1u);
    }
    pages.push_back(page.sessions.size());
    place = page.next;
  } while (place != 0);
  EXPECT_THAT(found, ElementsAre("sess_1", "sess_2", "sess_4", "sess_5", "sess_7", "sess_8"));
  EXPECT_THAT(pages, ElementsAre(4, 2));
  EXPECT_EQ(run(store().purge({"sess_0", "sess_1", "sess_none"})), 1u);
}

TEST_P(EveryStore, PurgesNoneThatStillOwesAWebhook) {
  NewSession session = new_session("sess_1");
  session.record.head.status = SessionStatus::ended;
  session.tasks = {new_task("task_1", "sess_1", 1, "")};
  session.tasks[0].webhook = Webhook{.url = "http://127.0.0.1/", .status = Webhook::Status::owed};
  run(store().create(session));
  EXPECT_THAT(run(store().purgeable({}, 1, 0)).sessions, IsEmpty());
  EXPECT_EQ(run(store().purge({"sess_1"})), 0u);
}

Async<void> refuse_one(std::string refused, std::vector<std::string>& removed, std::string id) {
  if (id == refused) throw Error(ErrorCode::io_error, "its folder cannot be removed");
  removed.push_back(id);
  co_return;
}

TEST_P(EveryStore, PurgesTheRestWhereOneFolderCannotBeRemoved) {
  for (int i = 10; i < 60; ++i) {
    NewSession session = new_session("sess_" + std::to_string(i));
    session.record.head.status = SessionStatus::ended;
    run(store().create(session));
  }
  std::vector<std::string> removed;
  const auto purge_but = [&](const std::string& refused) {
    return purge(store(), {}, {.remove_folder = [&removed, refused](std::string id) {
                   return refuse_one(refused, removed, std::move(id));
                 }});
  };
  EXPECT_EQ(refusal(purge_but("sess_10")), ErrorCode::io_error);
  EXPECT_THAT(removed, SizeIs(49));
  EXPECT_THAT(run(store().unswept(100)), ElementsAre("sess_10"));
  EXPECT_EQ(run(purge_but("")), 0u);
  EXPECT_THAT(run(store().unswept(100)), IsEmpty());
}

TEST_P(EveryStore, NeverGivesThePurgedIdAgain) {
  NewSession session = new_session("sess_1");
  session.record.head.status = SessionStatus::ended;
  run(store().create(session));
  run(purge(store(), {}));
  EXPECT_EQ(refusal(store().create(new_session("sess_1"))), ErrorCode::already_exists);
}

TEST_P(EveryStore, RefusesEveryCallOnceItIsClosed) {
  write_new(store(), "sess_1");
  run(store().close());
  run(store().close());
  EXPECT_EQ(refusal(store().create(new_session("sess_2"))), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().commit({.session_id = "sess_1", .epoch = 1, .version = 1})), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().adopt("sess_1", "me")), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().load("sess_1")), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().task("task_1")), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().task_by_key("sess_1", "k")), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().tasks("sess_1", 1, 1)), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().events("sess_1", 1, 1)), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().list({}, "", 1)), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().count({})), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().cursor_after({}, 1)), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().steps("sess_1", 1, 1)), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().latest_attempts("sess_1", {"a"})), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().step_summary("sess_1")), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().leftovers()), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().purgeable({}, 1, 0)), ErrorCode::unavailable);
  EXPECT_EQ(refusal(store().purge({"sess_1"})), ErrorCode::unavailable);
}

// Commits `count` times to a session of its own.
Async<void> write_many(Store& store, std::string id, int count) {
  Writing session(id);
  co_await store.create(new_session(id));
  for (int i = 0; i < count; ++i) {
    Commit commit = session.next({"step"});
    commit.state = {{"i", std::to_string(i)}};
    session.version = co_await store.commit(commit);
    session.head = commit.head;
  }
}

Async<void> write_many_sessions(Store& store, int sessions, int count) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (int i = 0; i < sessions; ++i) group.spawn(write_many(store, "sess_" + std::to_string(i), count));
  co_await group.join();
}

TEST_P(EveryStore, TakesCommitsOfManySessionsAtOnce) {
  run(write_many_sessions(store(), 32, 20));
  EXPECT_THAT(ids({}), SizeIs(32));
  for (int i = 0; i < 32; ++i) {
    const std::string id = "sess_" + std::to_string(i);
    const Snapshot snapshot = run(store().load(id)).value();
    EXPECT_EQ(snapshot.record.version, 21u);
    EXPECT_EQ(snapshot.state.at("i"), "19");
    EXPECT_THAT(run(store().events(id, 1, 100)), SizeIs(21));
  }
}

Async<void> count_outcome(Store& store, Commit commit, int& applied, int& refused) {
  try {
    co_await store.commit(std::move(commit));
    ++applied;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::conflict);
    ++refused;
  }
}

Async<void> race(Store& store, const Writing& session, int& applied, int& refused) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  for (int i = 0; i < 20; ++i) {
    Commit commit = session.next({"race"});
    commit.state = {{"winner", std::to_string(i)}};
    group.spawn(count_outcome(store, std::move(commit), applied, refused));
  }
  co_await group.join();
}

TEST_P(EveryStore, AppliesOneOfTheCommitsThatRaceForAVersion) {
  Writing session = write_new(store(), "sess_1");
  int applied = 0;
  int refused = 0;
  run(race(store(), session, applied, refused));
  EXPECT_EQ(applied, 1);
  EXPECT_EQ(refused, 19);
  const Snapshot snapshot = run(store().load("sess_1")).value();
  EXPECT_EQ(snapshot.record.version, 2u);
  EXPECT_EQ(snapshot.state.at("winner"), "0") << "the first call counts";
}

Async<void> commit_in_order(Store& store, std::vector<Commit> commits) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  const auto discard = [](Store& to, Commit commit) -> Async<void> { co_await to.commit(std::move(commit)); };
  for (Commit& commit : commits) group.spawn(discard(store, std::move(commit)));
  co_await group.join();
}

TEST_P(EveryStore, AppliesCommitsOfOneSessionInTheOrderOfTheCalls) {
  Writing session = write_new(store(), "sess_1");
  std::vector<Commit> commits;
  for (int i = 0; i < 20; ++i) {
    commits.push_back(session.next({"step"}));
    commits.back().state = {{"i", std::to_string(i)}};
    session.head = commits.back().head;
    ++session.version;
  }
  run(commit_in_order(store(), std::move(commits)));
  EXPECT_EQ(run(store().load("sess_1"))->record.version, 21u);
  EXPECT_EQ(run(store().load("sess_1"))->state.at("i"), "19");
}

}  // namespace
}  // namespace sojourn::store
