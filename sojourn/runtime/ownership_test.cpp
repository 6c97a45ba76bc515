#include <gmock/gmock.h>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/store/verify.hpp"

// What a session is to the next server that owns it, and what becomes of it under the one that did.
namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;

class OwnershipTest : public RuntimeTest {
 public:
  std::string id;
};

OwnershipTest& own(RuntimeTest& test) {
  return dynamic_cast<OwnershipTest&>(test);
}

TEST_F(OwnershipTest, ACallAfterARestartIsNumberedPastEveryStoredCall) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = own(test).id = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit&) { return true; };
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run({.app = "app", .session = id, .wait = false})),
              ErrorCode::store_full);
    test.guarded.refuses = nullptr;
    EXPECT_EQ((co_await test.call(id, "run")).task.seq, 3u);  // 2 was not accepted
  });
  with_runtime(
      [](RuntimeTest& test) -> Async<void> { EXPECT_EQ((co_await test.call(own(test).id, "run")).task.seq, 4u); });
}

TEST_F(OwnershipTest, ASessionThatNeverHadAWorkerGoesOnUnderTheNextServer) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = own(test).id = (co_await test.runtime->create_session({.app = "app"})).record.id;
    TaskGroup group(test.loop.executor());
    test.guarded.holds_commits = true;  // so that its turn comes before it is accepted
    group.spawn([](RuntimeTest& of, std::string session) -> Async<void> {
      const TaskView view = co_await of.runtime->run({.app = "app", .session = session, .idempotency_key = "k"});
      EXPECT_EQ(view.task.status, TaskStatus::cancelled);
    }(test, id));
    co_await test.settle();
    co_await test.runtime->cancel(test.guarded.last_task);
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await group.join();
    EXPECT_EQ((co_await test.store.load(id))->record.head.call_count, 1u);
    EXPECT_TRUE(test.script.log.empty());
  });
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ((co_await test.call(own(test).id, "run")).task.status, TaskStatus::completed);
    EXPECT_FALSE(test.script.restored);
  });
}

TEST_F(OwnershipTest, ASessionThatAnotherServerTookLeavesMemoryAndItsCallersAreTold) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait_for_cancel");
    const std::string id = running->task.session_id;
    const auto waiting = co_await test.start(id, "run");
    co_await test.store.adopt(id, "another");
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->keepalive(id, "me")), ErrorCode::fenced);
    co_await test.settle();
    for (const auto& call : {running, waiting}) {
      EXPECT_EQ(call->task.status, TaskStatus::failed);
      EXPECT_THAT(call->task.error, testing::HasSubstr("\"fenced\""));
    }
    EXPECT_THAT(test.script.log, testing::ElementsAre("open", "call wait_for_cancel", "close lost"));
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    EXPECT_EQ(test.runtime->statistics().calls, 0u);
    EXPECT_EQ((co_await test.store.load(id))->open_tasks.size(), 2u);  // the other's to settle
  });
}

TEST_F(OwnershipTest, AServerThatLostASessionMayTakeItBackWithTheNextCall) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "increment")).task.session_id;
    co_await test.store.adopt(id, "another");
    const TaskView lost = co_await test.call(id, "increment");
    EXPECT_EQ(lost.task.status, TaskStatus::failed);
    EXPECT_THAT(lost.task.error, testing::HasSubstr("\"fenced\""));
    co_await test.settle();
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "2");
    EXPECT_EQ((co_await test.store.load(id))->record.owner, "server");
    EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
  });
}

TEST_F(OwnershipTest, AServerStopsThoughACallOutlivesItsSession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView view = co_await test.runtime->run(
        {.app = "app", .function = "wait", .session = "new", .wait = false, .lifetime = 10s});
    co_await test.settle();
    co_await test.pass(11s);
    TaskGroup group(test.loop.executor());
    group.spawn(test.runtime->close(test.clock.instant()));
    co_await test.settle();
    co_await test.pass(2s);
    EXPECT_EQ(group.size(), 0u);
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ((co_await test.store.task(view.task.id))->status, TaskStatus::failed);
    EXPECT_EQ((co_await test.store.load(view.task.session_id))->record.head.status, SessionStatus::expired);
  });
}

TEST_F(OwnershipTest, ACallWhoseEndCouldNotBeMadeDurableIsOverForWhoAsksForIt) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit& commit) {
      return commit.tasks.empty() || store::is_final(commit.tasks.front().status);
    };
    const RunRequest request{.app = "app", .session = id, .idempotency_key = "k"};
    const TaskView first = co_await test.runtime->run(request);
    EXPECT_EQ(first.task.status, TaskStatus::failed);
    co_await test.settle();
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    EXPECT_FALSE(store::is_final((co_await test.runtime->task(first.task.id)).task.status));
    test.guarded.refuses = nullptr;
    EXPECT_EQ((co_await test.runtime->task(first.task.id)).task.status, TaskStatus::failed);
    EXPECT_EQ((co_await test.runtime->run(request)).task.status, TaskStatus::failed);
  });
}

TEST_F(OwnershipTest, WhoReadsACallDoesNotTakeItsSessionFromAnotherServer) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "wait_for_cancel");
    const std::string id = call->task.session_id;
    const std::uint64_t epoch = (co_await test.store.adopt(id, "another")).record.epoch;
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->keepalive(id, "me")), ErrorCode::fenced);
    co_await test.settle();
    EXPECT_FALSE(store::is_final((co_await test.runtime->task(call->task.id)).task.status));
    const store::SessionRecord kept = (co_await test.store.load(id))->record;
    EXPECT_EQ(kept.owner, "another");
    EXPECT_EQ(kept.epoch, epoch);
  });
}

TEST_F(OwnershipTest, AWriteFromOutsideMovesTheExpiryThatReadersSee) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.pass(30s);
    co_await test.runtime->change_state(id, {{"key", Json(1)}}, "me");
    EXPECT_EQ((co_await test.store.load(id))->record.head.expires_at, test.clock.now() + 60s);
  });
}

TEST_F(OwnershipTest, TheLossOfItsWorkerDoesNotKeepASessionAlive) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.pass(30s);
    test.script.events->lost(Error(ErrorCode::worker_lost, "killed"));
    co_await test.settle();
    co_await test.pass(30s);
    EXPECT_EQ((co_await test.store.load(id))->record.head.status, SessionStatus::expired);
  });
}

TEST_F(OwnershipTest, EndingASessionThatAnotherServerTookSaysSo) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.store.adopt(id, "another");
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->end_session(id, "me")), ErrorCode::fenced);
    EXPECT_EQ((co_await test.store.load(id))->record.head.status, SessionStatus::active);
  });
}

}  // namespace

}  // namespace sojourn::runtime
