#include <gmock/gmock.h>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

// Sessions whose worker is opened before their first call.
namespace sojourn::runtime {
namespace {

using store::SessionStatus;
using testing::Contains;
using testing::ElementsAre;

const Error no_model(ErrorCode::worker_start_failed, "there is no such model");

class WarmUpTest : public RuntimeTest {
 public:
  Async<SessionView> warm(bool wait = true, std::string key = "") {
    return runtime->create_session({.app = "app", .idempotency_key = std::move(key), .wait = wait, .warm = true});
  }

  // What a warm session is refused with.
  Async<Error> refusal() {
    try {
      co_await warm();
    } catch (const Error& error) {
      co_return error;
    }
    throw std::runtime_error("it was not refused");
  }

  Async<SessionStatus> stored_status(std::string id) {
    co_return (co_await store.load(std::move(id)))->record.head.status;
  }
};

WarmUpTest& own(RuntimeTest& test) {
  return dynamic_cast<WarmUpTest&>(test);
}

TEST_F(WarmUpTest, TheFirstCallFindsTheWorkerOpen) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const SessionView view = co_await own(test).warm();
    EXPECT_THAT(test.script.log, ElementsAre("open"));
    EXPECT_EQ(view.worker.at("pid"), 7);
    EXPECT_FALSE(view.asleep);
    EXPECT_THAT(co_await test.event_types(view.record.id), ElementsAre("session.created", "worker.started"));
    EXPECT_EQ((co_await test.call(view.record.id, "increment")).task.output, "1");
    EXPECT_THAT(test.script.log, ElementsAre("open", "call increment"));
  });
}

TEST_F(WarmUpTest, WithoutWaitingItIsAnsweredAtOnceAndACallWaitsForTheWorker) {
  script.hold_open = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const SessionView view = co_await own(test).warm(false);
    co_await test.settle();
    EXPECT_THAT(test.script.log, ElementsAre("open"));
    const auto call = co_await test.start(view.record.id, "run");
    EXPECT_EQ(call->task.status, store::TaskStatus::queued);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    EXPECT_EQ(call->task.status, store::TaskStatus::completed);
    EXPECT_THAT(test.script.log, ElementsAre("open", "call run"));
  });
}

TEST_F(WarmUpTest, AWorkerThatDoesNotStartIsToldAndIsTheSessionsEnd) {
  script.open_error = no_model;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const Error error = co_await own(test).refusal();
    EXPECT_EQ(error.code(), ErrorCode::worker_start_failed);
    EXPECT_EQ(error.message(), no_model.message());
    const std::string id(error.details().at("session_id").as_string());
    co_await test.settle();
    EXPECT_EQ(co_await own(test).stored_status(id), SessionStatus::failed);
    EXPECT_THAT(co_await test.event_types(id),
                ElementsAre("session.created", "worker.start_failed", "session.failed"));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::worker_lost);
  });
}

TEST_F(WarmUpTest, AWorkerThatOnlyCouldNotStartNowIsToldAndTheNextCallTriesAgain) {
  script.open_error = Error(ErrorCode::unavailable, "no process is left");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const Error error = co_await own(test).refusal();
    EXPECT_EQ(error.code(), ErrorCode::unavailable);
    const std::string id(error.details().at("session_id").as_string());
    co_await test.settle();
    EXPECT_EQ(co_await own(test).stored_status(id), SessionStatus::active);
    EXPECT_THAT(co_await test.event_types(id), ElementsAre("session.created", "worker.start_failed"));
    test.script.open_error.reset();
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "1");
  });
}

TEST_F(WarmUpTest, WhereTheAppRecoversTheNextCallTriesAgain) {
  info.recover = true;
  script.open_error = no_model;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const Error error = co_await own(test).refusal();
    const std::string id(error.details().at("session_id").as_string());
    test.script.open_error.reset();
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "1");
    EXPECT_FALSE(test.script.restored);
    EXPECT_THAT(co_await test.event_types(id), Contains("worker.start_failed"));
  });
}

TEST_F(WarmUpTest, ARetryWithItsKeyFindsTheSameSessionAndWorker) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const SessionView first = co_await own(test).warm(true, "k");
    const SessionView again = co_await own(test).warm(true, "k");
    EXPECT_EQ(again.record.id, first.record.id);
    EXPECT_EQ(again.record.version, first.record.version);
    EXPECT_THAT(test.script.log, ElementsAre("open"));
  });
}

TEST_F(WarmUpTest, EndingTheSessionBreaksOffTheStartOfItsWorker) {
  script.hold_open = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await own(test).warm(false, "k")).record.id;
    TaskGroup group(test.loop.executor());
    group.spawn([](WarmUpTest& in) -> Async<void> {
      EXPECT_EQ(co_await RuntimeTest::code_of(in.warm(true, "k")), ErrorCode::session_ended);
    }(own(test)));
    co_await test.settle();
    group.spawn(test.runtime->end_session(id, "someone"));
    co_await test.settle();
    co_await test.pass(Seconds(2));
    EXPECT_EQ(group.size(), 0U);
    co_await group.join();
    EXPECT_EQ(co_await own(test).stored_status(id), SessionStatus::ended);
  });
}

TEST_F(WarmUpTest, AServerStopsThoughAWorkerDoesNotStart) {
  script.hold_open = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    co_await own(test).warm(false);
    co_await test.settle();
    TaskGroup group(test.loop.executor());
    group.spawn(test.runtime->close(test.clock.instant()));
    co_await test.settle();
    co_await test.pass(Seconds(2));
    EXPECT_EQ(group.size(), 0U);
    co_await group.join();
  });
}

TEST_F(WarmUpTest, ASessionIsNotIdleWhileItsWorkerStarts) {
  script.hold_open = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await own(test).warm(false)).record.id;  // its time-out is 60 s
    co_await test.settle();
    co_await test.pass(Seconds(300));
    test.script.release.notify_all();
    co_await test.settle();
    co_await test.pass(Seconds(59));
    EXPECT_EQ(co_await own(test).stored_status(id), SessionStatus::active);
    co_await test.pass(Seconds(1));
    EXPECT_EQ(co_await own(test).stored_status(id), SessionStatus::expired);
  });
}

TEST_F(WarmUpTest, AWorkerThatWasNeverCalledHasNothingToRestore) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await own(test).warm()).record.id;
    test.script.events->lost(Error(ErrorCode::worker_lost, "killed"));
    EXPECT_EQ((co_await test.call(id, "run")).task.status, store::TaskStatus::completed);
    EXPECT_FALSE(test.script.restored);
    test.script.events->lost(Error(ErrorCode::worker_lost, "killed"));
    co_await test.call(id, "run");
    EXPECT_TRUE(test.script.restored);
  });
}

TEST_F(WarmUpTest, NeedsAnApp) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->create_session({.warm = true})),
              ErrorCode::invalid_request);
    EXPECT_THAT((co_await test.store.list({}, "", 10)).sessions, testing::IsEmpty());
  });
}

}  // namespace
}  // namespace sojourn::runtime
