#include "sojourn/runtime/schedule.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/schedule_fixture_test.hpp"
#include "sojourn/store/verify.hpp"

namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST_F(ScheduleTest, ACallRunsWhenItsTimeHasComeAndNotBefore) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord task = co_await test.schedule(id, "increment", 40s, "x");
    EXPECT_EQ(task.status, TaskStatus::received);
    EXPECT_EQ(task.seq, 0u);
    EXPECT_EQ(task.run_at, test.clock.now() + 40s);
    co_await test.pass(40s - 1us);
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);
    EXPECT_EQ(test.served("increment"), 0u);
    co_await test.pass(1us);
    const store::TaskRecord done = (co_await test.runtime->task(task.id)).task;
    EXPECT_EQ(done.status, TaskStatus::completed);
    EXPECT_EQ(done.output, "1");
    EXPECT_EQ(done.input, "\"x\"");
    EXPECT_EQ(done.seq, 2u);
    EXPECT_EQ(done.run_at, task.run_at);
    EXPECT_EQ(done.created_at, task.created_at);
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
    const std::vector<std::string> types = co_await test.event_types(id);
    EXPECT_THAT(std::vector(types.end() - 3, types.end()),
                ElementsAre("call.scheduled", "call.accepted", "call.completed"));
    EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
  });
}

TEST_F(ScheduleTest, ItsPlaceInTheQueueIsThatOfItsTime) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord later = co_await test.schedule(id, "run", 20s, "later");
    const store::TaskRecord sooner = co_await test.schedule(id, "run", 10s, "sooner");
    const store::TaskRecord also = co_await test.schedule(id, "run", 20s, "also later");
    const auto running = co_await test.start(id, "wait");
    const auto first = co_await test.start(id, "run", "before");
    co_await test.pass(15s);
    const auto second = co_await test.start(id, "run", "between");
    co_await test.pass(15s);
    EXPECT_EQ((co_await test.runtime->task(also.id)).queue_position, 5u);
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ(first->task.seq, 3u);
    EXPECT_EQ((co_await test.runtime->task(sooner.id)).task.seq, 4u);
    EXPECT_EQ(second->task.seq, 5u);
    EXPECT_EQ((co_await test.runtime->task(later.id)).task.seq, 6u);
    EXPECT_EQ((co_await test.runtime->task(also.id)).task.seq, 7u);
    for (const auto& task : {sooner, later, also}) EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
  });
}

TEST_F(ScheduleTest, ATimeThatHasPassedIsNow) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = co_await test.schedule("new", "increment", -hour);
    EXPECT_EQ(task.status, TaskStatus::queued);
    co_await test.settle();
    const store::TaskRecord done = (co_await test.runtime->task(task.id)).task;
    EXPECT_EQ(done.status, TaskStatus::completed);
    EXPECT_EQ(done.run_at, test.clock.now() - hour);
    EXPECT_THAT(co_await test.event_types(task.session_id), Not(Contains("call.scheduled")));
  });
}

TEST_F(ScheduleTest, RefusesToWaitAndTimesTooFarAhead) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const Time now = test.clock.now();
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run({.app = "app", .session = "new", .run_at = now})),
              ErrorCode::invalid_request);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.schedule("new", "run", limits::longest_schedule + 1us)),
              ErrorCode::invalid_request);
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    co_await test.schedule("new", "run", limits::longest_schedule);
  });
}

TEST_F(ScheduleTest, ASessionDoesNotExpireBeforeACallThatIsToCome) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();  // its time-out is 60 s, and it lives in a worker's memory
    const Time run_at = test.clock.now() + hour;
    const store::TaskRecord task = co_await test.schedule(id, "remember", hour);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.expires_at, run_at + 60s);
    co_await test.pass(hour - 1s);
    EXPECT_TRUE((co_await test.runtime->session(id)).record.head.status == SessionStatus::active);
    EXPECT_EQ(test.script.log, (std::vector<std::string>{"open", "call run"}));
    co_await test.pass(1s);
    EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
    co_await test.pass(60s - 1us);
    EXPECT_EQ(co_await test.session_status(id), SessionStatus::active);
    co_await test.pass(1us);
    EXPECT_EQ(co_await test.session_status(id), SessionStatus::expired);
  });
}

TEST_F(ScheduleTest, ANewSessionOpensItsWorkerAtItsTimeAndWaitsInTheStore) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = co_await test.schedule("new", "increment", hour);
    co_await test.pass(31s);
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);
    co_await test.pass(hour - 31s - 1us);
    EXPECT_TRUE(test.script.log.empty());
    EXPECT_EQ(co_await test.session_status(task.session_id), SessionStatus::active);
    co_await test.pass(1us);
    EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
    EXPECT_EQ(test.runtime->statistics().live_sessions, 1u);
    co_await test.pass(60s);
    EXPECT_EQ(co_await test.session_status(task.session_id), SessionStatus::expired);
  });
}

TEST_F(ScheduleTest, ACallWithoutASessionEndsItsOwnAlsoAfterARestart) {
  with_runtime(
      [](RuntimeTest& base) -> Async<void> { of(base).left = co_await of(base).schedule("", "increment", 100s); });
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    co_await test.pass(100s);
    EXPECT_EQ(co_await test.status(test.left), TaskStatus::completed);
    EXPECT_EQ(co_await test.session_status(test.left.session_id), SessionStatus::ended);
  });
}

TEST_F(ScheduleTest, ACallThatIsDueWhileNoServerRunsIsMadeByTheNextOne) {
  with_runtime(
      [](RuntimeTest& base) -> Async<void> { of(base).left = co_await of(base).schedule("new", "increment", 100s); });
  clock.advance(hour);  // past the idle time-out too
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    co_await test.settle();
    EXPECT_EQ(co_await test.status(test.left), TaskStatus::completed);
    EXPECT_EQ(test.served("increment"), 1u);
    EXPECT_EQ(co_await test.session_status(test.left.session_id), SessionStatus::active);
    EXPECT_TRUE((co_await store::verify(test.store, test.left.session_id)).ok());
  });
}

TEST_F(ScheduleTest, AKeptStateIsThereForACallAfterARestart) {
  info.recover = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = (co_await test.call("new", "increment")).task.session_id;
    test.left = co_await test.schedule(id, "increment", hour);
  });
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    EXPECT_EQ(test.runtime->statistics().scheduled, 1u);
    co_await test.pass(hour);
    EXPECT_EQ((co_await test.runtime->task(test.left.id)).task.output, "2");
  });
}

TEST_F(ScheduleTest, ASessionThatLivedInAWorkersMemoryTakesItsCallsWithItWhenTheServerStops) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    test.left = co_await test.schedule(co_await test.new_session(), "run", hour);
  });
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = (co_await test.runtime->task(test.left.id)).task;
    EXPECT_EQ(task.status, TaskStatus::failed);
    EXPECT_THAT(task.error, HasSubstr("WORKER_LOST"));
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
  });
}

TEST_F(ScheduleTest, ACallThatWasBegunIsNotMadeAgain) {
  info.recover = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    test.left = co_await test.schedule("new", "wait_for_cancel", 10s);
    co_await test.pass(10s);
    EXPECT_EQ(co_await test.status(test.left), TaskStatus::running);
    test.guarded.refuses = [](const store::Commit&) { return true; };  // its server dies
  });
  guarded.refuses = nullptr;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = (co_await test.runtime->task(test.left.id)).task;
    EXPECT_EQ(task.status, TaskStatus::failed);
    EXPECT_THAT(task.error, HasSubstr("WORKER_LOST"));
    EXPECT_EQ(test.served("wait_for_cancel"), 1u);
  });
}

TEST_F(ScheduleTest, IsCancelledBeforeItsTime) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = co_await test.schedule("new", "run", hour);
    co_await test.pass(60s);  // its session is only in the store
    const TaskView cancelled = co_await test.runtime->cancel(task.id);
    EXPECT_EQ(cancelled.task.status, TaskStatus::cancelled);
    EXPECT_THAT(cancelled.task.error, HasSubstr("before its time"));
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
    // Nothing keeps the session any more.
    co_await test.pass(60s);
    EXPECT_EQ(co_await test.session_status(task.session_id), SessionStatus::expired);
    co_await test.pass(hour);
    EXPECT_TRUE(test.script.log.empty());
    EXPECT_EQ((co_await test.event_types(task.session_id)).at(2), "call.cancelled");
  });
}

TEST_F(ScheduleTest, EndsWithItsSession) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord first = co_await test.schedule(id, "run", hour);
    const store::TaskRecord second = co_await test.schedule(id, "run", 2 * hour);
    co_await test.runtime->end_session(id, "me");
    for (const auto& task : {first, second}) EXPECT_EQ(co_await test.status(task), TaskStatus::cancelled);
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
    EXPECT_EQ((co_await test.store.load(id))->record.head.call_count, 3u);
  });
}

TEST_F(ScheduleTest, FailsWithItsSessionsWorker) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord task = co_await test.schedule(id, "run", hour);
    co_await test.call(id, "die");
    co_await test.settle();
    EXPECT_EQ(co_await test.status(task), TaskStatus::failed);
  });
}

TEST_F(ScheduleTest, OneThatIsAcceptedWhileItsSessionEndsIsCancelledToo) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    group.spawn([](ScheduleTest& of, std::string session) -> Async<void> {
      of.left = co_await of.schedule(session, "run", hour);
    }(test, id));
    co_await test.settle();
    group.spawn(test.runtime->end_session(id, "me"));
    co_await test.settle();
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await group.join();
    EXPECT_EQ(co_await test.status(test.left), TaskStatus::cancelled);
    EXPECT_EQ(co_await test.session_status(id), SessionStatus::ended);
  });
}

TEST_F(ScheduleTest, CannotComeAfterTheSessionsLifetime) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const RunRequest request{.app = "app", .session = "new", .lifetime = 100s};
    const std::string id = (co_await test.runtime->run(request)).task.session_id;
    EXPECT_EQ(co_await RuntimeTest::code_of(test.schedule(id, "run", 100s)), ErrorCode::invalid_request);
    const store::TaskRecord task = co_await test.schedule(id, "run", 99s);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.expires_at, test.clock.now() + 100s);
    co_await test.pass(99s);
    EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
  });
}

TEST_F(ScheduleTest, OneWhoseSessionsLifetimePassedWithoutAServerIsCancelled) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const TaskView view = co_await test.runtime->run(
        {.app = "app", .session = "new", .wait = false, .run_at = test.clock.now() + 50s, .lifetime = 100s});
    test.left = view.task;
  });
  clock.advance(hour);
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    EXPECT_EQ(co_await test.status(test.left), TaskStatus::cancelled);
    EXPECT_EQ(co_await test.session_status(test.left.session_id), SessionStatus::expired);
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
  });
}

TEST_F(ScheduleTest, CancellingOneWhoseSessionsLifetimePassedWithoutAStoreTellsWhatBecameOfIt) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const TaskView view = co_await test.runtime->run(
        {.app = "app", .session = "new", .wait = false, .run_at = test.clock.now() + 50s, .lifetime = 100s});
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.pass(100s);
    EXPECT_EQ(co_await test.session_status(view.task.session_id), SessionStatus::active);
    test.guarded.refuses = nullptr;
    const TaskView cancelled = co_await test.runtime->cancel(view.task.id);
    EXPECT_EQ(cancelled.task.status, TaskStatus::cancelled);
    EXPECT_EQ(co_await test.session_status(view.task.session_id), SessionStatus::expired);
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
  });
}

TEST_F(ScheduleTest, GoesByTheWallClockWhenThatIsSetForward) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = co_await test.schedule("new", "run", hour);
    test.clock.set_wall(*task.run_at);
    co_await test.settle();
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);  // nothing tells of it
    co_await test.pass(Sleepers::longest_look_away);
    EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
  });
}

TEST_F(ScheduleTest, OneThatTheServerGetsToLateIsBehindWhatCameMeanwhile) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord late = co_await test.schedule(id, "run", 20s, "late");
    const store::TaskRecord also = co_await test.schedule(id, "run", 20s, "also late");
    test.clock.set_wall(*late.run_at + 1s);
    const auto plain = co_await test.start(id, "run", "meanwhile");
    const store::TaskRecord passed = co_await test.schedule(id, "run", -1s, "of their time");
    co_await test.pass(Sleepers::longest_look_away);
    EXPECT_EQ(plain->task.seq, 2u);
    EXPECT_EQ(passed.run_at, late.run_at);
    EXPECT_EQ(passed.seq, 3u);
    EXPECT_EQ((co_await test.runtime->task(late.id)).task.seq, 4u);
    EXPECT_EQ((co_await test.runtime->task(also.id)).task.seq, 5u);
    for (const auto& task : {late, also, passed}) EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
  });
}

TEST_F(ScheduleTest, GoesByTheWallClockWhenThatIsSetBack) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord task = co_await test.schedule(id, "run", 30s);
    test.clock.set_wall(test.clock.now() - hour);
    co_await test.pass_slowly(30s);
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);
    co_await test.pass(hour - 1us);
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);
    EXPECT_EQ(co_await test.session_status(id), SessionStatus::active);
    co_await test.pass(1us);
    EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
    co_await test.pass(Sleepers::longest_look_away);
    EXPECT_EQ(test.served("run"), 2u);  // once each
  });
}

TEST_F(ScheduleTest, FindsItsCallAgainByItsKey) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord first = co_await test.schedule("new", "increment", hour, 7, "key");
    EXPECT_EQ((co_await test.schedule("new", "increment", hour, 7, "key")).id, first.id);
    EXPECT_EQ((co_await test.schedule(first.session_id, "increment", hour, 7, "key")).id, first.id);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.schedule(first.session_id, "increment", hour, 8, "key")),
              ErrorCode::idempotency_mismatch);
    test.left = first;
  });
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    EXPECT_EQ((co_await test.schedule("new", "increment", hour, 7, "key")).id, test.left.id);
    co_await test.pass(hour);
    EXPECT_EQ((co_await test.schedule(test.left.session_id, "increment", hour, 7, "key")).status,
              TaskStatus::completed);
    EXPECT_EQ(test.served("increment"), 1u);
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
  });
}

TEST_F(ScheduleTest, ARetryThatWaitsFindsACallThatIsStillToCome) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord first = co_await test.schedule("new", "increment", hour, 7, "key");
    const auto retry = [&](Json input) {
      return test.runtime->run({.app = "app",
                                .function = "increment",
                                .input = std::move(input),
                                .session = first.session_id,
                                .idempotency_key = "key"});
    };
    EXPECT_EQ((co_await retry(7)).task, first);
    EXPECT_EQ(co_await RuntimeTest::code_of(retry(8)), ErrorCode::idempotency_mismatch);
  });
}

TEST_F(ScheduleTest, FailsAtItsTimeWhereTheAppChangedMeanwhile) {
  with_runtime(
      [](RuntimeTest& base) -> Async<void> { of(base).left = co_await of(base).schedule("new", "run", 100s); });
  info.version = "2";
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    EXPECT_EQ(co_await test.status(test.left), TaskStatus::received);
    co_await test.pass(100s);
    const store::TaskRecord task = (co_await test.runtime->task(test.left.id)).task;
    EXPECT_EQ(task.status, TaskStatus::failed);
    EXPECT_THAT(task.error, HasSubstr("VERSION_MISMATCH"));
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
    co_await test.pass(60s);
    EXPECT_EQ(co_await test.session_status(task.session_id), SessionStatus::expired);
    EXPECT_TRUE((co_await store::verify(test.store, task.session_id)).ok());
  });
}

TEST_F(ScheduleTest, WhoFollowsItSeesItQueuedAndDone) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = co_await test.schedule("new", "emit", hour);
    const std::shared_ptr<LiveCall> call = co_await test.runtime->follow(task.id);
    EXPECT_EQ(co_await test.runtime->follow(task.id), call);
    EXPECT_EQ(test.runtime->live_call(task.id), nullptr);
    EXPECT_EQ(call->task.status, TaskStatus::received);
    co_await test.pass(hour);
    EXPECT_EQ(test.runtime->live_call(task.id), call);
    EXPECT_EQ(call->task.status, TaskStatus::running);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    EXPECT_EQ(call->task.status, TaskStatus::completed);
    EXPECT_GE(call->updates_after(0).size(), 4u);
    EXPECT_EQ(co_await test.runtime->follow(task.id), nullptr);
  });
}

TEST_F(ScheduleTest, WhoFollowsItIsToldOfItsCancelAndOfItsSessionsEnd) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord first = co_await test.schedule("new", "run", hour);
    const store::TaskRecord second = co_await test.schedule("new", "run", hour);
    const auto one = co_await test.runtime->follow(first.id);
    const auto two = co_await test.runtime->follow(second.id);
    co_await test.runtime->cancel(first.id);
    EXPECT_EQ(one->task.status, TaskStatus::cancelled);
    co_await test.pass(60s);
    co_await test.runtime->end_session(second.session_id, "me");
    EXPECT_EQ(two->task.status, TaskStatus::cancelled);
  });
}

TEST_F(ScheduleTest, ManySessionsThatAreDueAtOnceAreAllServed) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    std::vector<store::TaskRecord> tasks;
    for (int i = 0; i < 50; ++i) tasks.push_back(co_await test.schedule("new", "run", hour));
    co_await test.pass(31s);
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    EXPECT_EQ(test.runtime->statistics().scheduled, 50u);
    co_await test.pass(hour);
    for (int i = 0; i < 20; ++i) co_await test.settle();
    for (const store::TaskRecord& task : tasks) EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
  });
}

}  // namespace

}  // namespace sojourn::runtime
