#include <gmock/gmock.h>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

namespace sojourn::runtime {
namespace {

using store::SessionStatus;
using testing::Contains;
using testing::Not;

constexpr Seconds ten{10};

class SleepTest : public RuntimeTest {
 public:
  SleepTest() {
    info.recover = true;
    info.sleep_after = ten;
  }

  std::size_t opened() const { return static_cast<std::size_t>(std::ranges::count(script.log, "open")); }
  std::size_t in_memory() const { return runtime->statistics().live_sessions; }

  Async<SessionStatus> stored_status(std::string id) {
    co_return (co_await store.load(std::move(id)))->record.head.status;
  }

  Async<store::SessionHead> stored_head(std::string id) {
    co_return (co_await store.load(std::move(id)))->record.head;
  }

  // A session after one call that counted to 1.
  Async<std::string> counted() {
    const std::string id = co_await new_session();
    co_await call(id, "increment");
    co_return id;
  }
};

TEST_F(SleepTest, AnIdleSessionLeavesMemoryWithItsWorker) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten - Microseconds(1));
    EXPECT_EQ(test.in_memory(), 1U);
    EXPECT_FALSE((co_await test.runtime->session(id)).asleep);
    co_await test.pass(Microseconds(1));
    EXPECT_EQ(test.in_memory(), 0U);
    EXPECT_EQ(test.script.log.back(), "close sleeping");
    const SessionView view = co_await test.runtime->session(id);
    EXPECT_TRUE(view.asleep);
    EXPECT_EQ(view.record.head.status, SessionStatus::active);
    EXPECT_EQ((co_await test.event_types(id)).back(), "worker.closed");
  });
}

TEST_F(SleepTest, TheNextCallWakesItWithItsState) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten);
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "2");
    EXPECT_TRUE(test.script.restored);
    EXPECT_EQ(test.opened(), 2U);
    EXPECT_FALSE((co_await test.runtime->session(id)).asleep);
  });
}

TEST_F(SleepTest, EachCallPutsItOff) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    for (int i = 0; i < 5; ++i) {
      co_await test.pass(ten - Microseconds(1));
      co_await test.call(id, "increment");
    }
    EXPECT_EQ(test.opened(), 1U);
  });
}

TEST_F(SleepTest, ACallThatRunsOrArrivesMeanwhileIsServed) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    const auto running = co_await test.start(id, "wait");
    co_await test.pass(3 * ten);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(running);
    EXPECT_EQ(running->task.output, "\"released\"");
    EXPECT_EQ(test.opened(), 1U);

    // The commit that puts it to rest is held up: what comes in meanwhile is served and not refused.
    test.guarded.holds_commits = true;
    co_await test.pass(ten);
    EXPECT_EQ(test.script.log.back(), "close sleeping");
    TaskGroup calls(test.loop.executor());
    calls.spawn([](SleepTest& the_test, std::string session) -> Async<void> {
      EXPECT_EQ((co_await the_test.call(session, "increment")).task.output, "2");
    }(test, id));
    co_await test.settle();
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await calls.join();
    EXPECT_EQ(test.in_memory(), 1U);
    EXPECT_EQ(test.opened(), 2U);
  });
}

TEST_F(SleepTest, AKeepalivePutsItOff) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    for (int i = 0; i < 5; ++i) {
      co_await test.pass(ten - Microseconds(1));
      co_await test.runtime->keepalive(id, "someone");
    }
    EXPECT_FALSE((co_await test.runtime->session(id)).asleep);
    co_await test.pass(ten);
    EXPECT_TRUE((co_await test.runtime->session(id)).asleep);
  });
}

TEST_F(SleepTest, ACallThatComesWhileItsWorkerGoesWakesItAgain) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    test.script.hold_close = true;
    co_await test.pass(ten);
    EXPECT_EQ(test.script.log.back(), "close sleeping");
    const auto call = co_await test.start(id, "increment");
    EXPECT_EQ(call->task.status, store::TaskStatus::queued);
    test.script.hold_close = false;
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    EXPECT_EQ(call->task.output, "2");
    EXPECT_TRUE(test.script.restored);
    EXPECT_EQ(test.opened(), 2U);
  });
}

TEST_F(SleepTest, AnEndThatComesWhileItsWorkerGoesIsCarriedOut) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    test.script.hold_close = true;
    co_await test.pass(ten);
    TaskGroup group(test.loop.executor());
    group.spawn(test.runtime->end_session(id, "someone"));
    co_await test.settle();
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::ended);
    EXPECT_EQ(std::ranges::count(test.script.log, "close sleeping"), 1);
    EXPECT_EQ((co_await test.event_types(id)).back(), "session.ended");
  });
}

TEST_F(SleepTest, WhatIsWrittenInItsSleepIsThereWhenItWakes) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten);
    co_await test.runtime->change_state(id, {{"count", Json(41)}}, "someone");
    EXPECT_EQ(test.opened(), 1U);
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "42");
  });
}

TEST_F(SleepTest, ItHoldsNoResourceInItsSleep) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    test.script.events->resource_added({.id = "r", .kind = "file", .cleanup = JsonObject{{"path", "/nowhere/x"}}});
    co_await test.settle();
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 1U);
    co_await test.pass(ten);  // its worker released it when it was closed
    EXPECT_TRUE((co_await test.store.load(id))->resources.empty());
  });
}

TEST_F(SleepTest, SleepIsNoActivity) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();  // its time-out is 60 s
    co_await test.pass(Seconds(60) - Microseconds(1));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::active);
    co_await test.pass(Microseconds(1));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::expired);
    EXPECT_EQ((co_await test.event_types(id)).back(), "session.expired");
    EXPECT_EQ(test.opened(), 1U);
    EXPECT_EQ(co_await test.code_of(test.call(id, "run")), ErrorCode::session_expired);
  });
}

TEST_F(SleepTest, ItsLifetimeEndsItInItsSleep) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const TaskView first = co_await test.runtime->run({.app = "app",
                                                       .function = "run",
                                                       .session = "new",
                                                       .session_timeout = Seconds(3600),
                                                       .lifetime = Seconds(90)});
    const std::string id = first.task.session_id;
    for (int i = 0; i < 4; ++i) {  // it sleeps and wakes
      co_await test.pass(2 * ten);
      EXPECT_EQ(test.in_memory(), 0U);
      co_await test.call(id, "increment");
    }
    co_await test.pass(ten - Microseconds(1));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::active);
    co_await test.pass(Microseconds(1));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::expired);
  });
}

TEST_F(SleepTest, AKeepaliveInItsSleepPutsItsEndOff) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(Seconds(50));
    co_await test.runtime->keepalive(id, "someone");
    EXPECT_TRUE((co_await test.runtime->session(id)).asleep);
    co_await test.pass(Seconds(59));
    EXPECT_EQ(test.in_memory(), 0U);
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::active);
    co_await test.pass(Seconds(1));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::expired);
    EXPECT_EQ(test.opened(), 1U);
  });
}

TEST_F(SleepTest, ItEndsInItsSleepByRequest) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten);
    co_await test.runtime->end_session(id, "someone");
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::ended);
    EXPECT_EQ(test.opened(), 1U);
    co_await test.pass(Seconds(100));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::ended);
  });
}

TEST_F(SleepTest, ItIsWokenToBeEndedWhereItsAppActsOnThat) {
  script.acts_on_end = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten);
    co_await test.runtime->end_session(id, "someone");
    EXPECT_EQ(test.opened(), 2U);
    EXPECT_TRUE(test.script.restored);
    EXPECT_EQ(test.script.log.back(), "close ended");
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::ended);
    EXPECT_EQ(test.in_memory(), 0U);

    const SessionView created = co_await test.runtime->create_session({.app = "app"});
    co_await test.runtime->end_session(created.record.id, "someone");
    EXPECT_EQ(test.opened(), 2U) << "nothing of it had gone to sleep";
  });
}

TEST_F(SleepTest, ItEndsAllTheSameWhenItCannotBeWokenForIt) {
  script.acts_on_end = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten);
    test.script.open_error = Error(ErrorCode::worker_start_failed, "there is no such model");
    co_await test.runtime->end_session(id, "someone");
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::ended);
    EXPECT_THAT(co_await test.event_types(id), Contains("worker.start_failed"));
  });
}

TEST_F(SleepTest, ThoseThatAreWokenToBeEndedComeOneAtATime) {
  script.acts_on_end = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::vector<std::string> ids{co_await test.counted(), co_await test.counted()};
    co_await test.pass(ten);
    test.script.hold_open = true;
    TaskGroup group(test.loop.executor());
    for (const std::string& id : ids) group.spawn(test.runtime->end_session(id, "someone"));
    co_await test.settle();
    EXPECT_EQ(test.opened(), 3U);
    test.script.hold_open = false;
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ(test.opened(), 4U);
    for (const std::string& id : ids) EXPECT_EQ(co_await test.stored_status(id), SessionStatus::ended);
  });
}

TEST_F(SleepTest, WhatCannotBeWrittenDownStaysInMemoryAndTriesAgain) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    int tries = 0;
    test.guarded.refuses = [&tries](const store::Commit&) { return ++tries > 0; };
    co_await test.pass(ten);
    EXPECT_EQ(test.in_memory(), 1U);
    co_await test.pass(Seconds(30) - Microseconds(1));
    EXPECT_EQ(tries, 1);
    test.guarded.refuses = nullptr;
    co_await test.pass(Microseconds(1));
    EXPECT_EQ(test.in_memory(), 0U);
    EXPECT_THAT(co_await test.event_types(id), Contains("worker.closed"));
  });
}

TEST_F(SleepTest, ACallThatAFailedCommitLeftOpenIsClosedBeforeItsSessionLeavesMemory) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    const auto call = co_await test.start(id, "wait");
    test.guarded.refuses = [](const store::Commit&) { return true; };
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);

    // A keepalive takes along the end that is owed, and fails while the commit that puts the session to rest waits.
    test.guarded.refuses = [times = 0](const store::Commit&) mutable { return ++times == 1; };
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    group.spawn([](SleepTest& the_test, std::string session) -> Async<void> {
      EXPECT_EQ(co_await code_of(the_test.runtime->keepalive(session, "someone")), ErrorCode::store_full);
    }(test, id));
    co_await test.settle();
    co_await test.pass(Seconds(30));
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await group.join();
    co_await test.settle();
    EXPECT_EQ(test.in_memory(), 0U);
    EXPECT_EQ((co_await test.store.task(call->task.id))->status, store::TaskStatus::failed);
    EXPECT_EQ((co_await test.stored_head(id)).call_count, 3U);
  });
}

TEST_F(SleepTest, AnEndThatTheStoreRefusesIsTriedAgain) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string id = co_await test.counted();
    co_await test.pass(ten);
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.pass(Seconds(60));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::active);
    test.guarded.refuses = nullptr;
    co_await test.pass(Seconds(60));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::expired);
  });
}

TEST_F(SleepTest, TheNextServerEndsItInTimeAndDoesNotTakeItIntoMemory) {
  static std::string id;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    id = co_await static_cast<SleepTest&>(base).counted();
    co_await base.pass(ten);
  });
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    EXPECT_EQ(test.in_memory(), 0U);
    co_await test.pass(Seconds(49));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::active);
    co_await test.pass(Seconds(1));
    EXPECT_EQ(co_await test.stored_status(id), SessionStatus::expired);
  });
}

TEST_F(SleepTest, SleepersTakeNoRoomAndWakingDoes) {
  info.max_sessions = 2;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const std::string first = co_await test.counted();
    co_await test.pass(ten);
    co_await test.counted();
    const std::string third = co_await test.counted();
    EXPECT_EQ(co_await test.code_of(test.call(first, "increment")), ErrorCode::too_many_sessions);
    co_await test.runtime->end_session(third, "someone");
    EXPECT_EQ((co_await test.call(first, "increment")).task.output, "2");
  });
}

TEST_F(SleepTest, AnAppThatDoesNotAskForItStaysAwake) {
  info.sleep_after = std::nullopt;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    co_await test.counted();
    co_await test.pass(Seconds(59));
    EXPECT_EQ(test.in_memory(), 1U);
    EXPECT_THAT(test.script.log, Not(Contains("close sleeping")));
  });
}

TEST_F(SleepTest, ASessionThatIsNeverCalledLeavesMemoryAndExpiresInTime) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<SleepTest&>(base);
    const SessionView created = co_await test.runtime->create_session({.app = "app"});
    co_await test.pass(Seconds(30));
    EXPECT_EQ(test.in_memory(), 0U);
    EXPECT_FALSE((co_await test.runtime->session(created.record.id)).asleep);  // nothing of it went to sleep
    co_await test.pass(Seconds(30));
    EXPECT_EQ(co_await test.stored_status(created.record.id), SessionStatus::expired);
  });
}

}  // namespace
}  // namespace sojourn::runtime
