#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

// What becomes of sessions when the store refuses, and when things happen at the same moment.
namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RunRequest keyed(std::string session, bool wait, std::string function = "run") {
  return {.app = "app",
          .function = std::move(function),
          .session = std::move(session),
          .idempotency_key = "k",
          .wait = wait};
}

Async<void> expect_code(Async<TaskView> action, ErrorCode expected) {
  EXPECT_EQ(co_await RuntimeTest::code_of(std::move(action)), expected);
}

bool accepts(const store::Commit& commit) {
  return !commit.tasks.empty() && commit.tasks.front().status == TaskStatus::received;
}

class RuntimeFaultsTest : public RuntimeTest {
 public:
  // Lets go on what the store held up.
  Async<void> let_go() {
    guarded.holds_commits = guarded.holds_creates = guarded.holds_keys = false;
    guarded.release.notify_all();
    co_await settle();
  }
};

TEST_F(RuntimeFaultsTest, RetriesThatComeTogetherAllGetTheFirstTask) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const TaskView first = co_await test.runtime->run(keyed(id, true));
    std::vector<std::string> tasks;
    const auto retry = [](RuntimeTest& in, RunRequest request, std::vector<std::string>& into) -> Async<void> {
      into.push_back((co_await in.runtime->run(std::move(request))).task.id);
    };
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    for (int i = 0; i < 3; ++i) group.spawn(retry(test, keyed(id, true), tasks));
    co_await test.settle();
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await group.join();
    EXPECT_THAT(tasks, ElementsAre(first.task.id, first.task.id, first.task.id));
  });
}

TEST_F(RuntimeFaultsTest, ARetryDoesNotWaitForACallThatWasNeverAccepted) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = dynamic_cast<RuntimeFaultsTest&>(base);
    const std::string id = co_await test.new_session();
    test.guarded.refuses = accepts;
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    group.spawn(expect_code(test.runtime->run(keyed(id, true)), ErrorCode::store_full));
    co_await test.settle();
    group.spawn(expect_code(test.runtime->run(keyed(id, true)), ErrorCode::unavailable));
    co_await test.settle();
    co_await test.let_go();
    EXPECT_EQ(group.size(), 0u);
    co_await group.join();
    test.guarded.refuses = nullptr;
    EXPECT_EQ((co_await test.runtime->run(keyed(id, true))).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeFaultsTest, AKeyMayBeUsedAgainAtOnceAfterItsCallWasNotAccepted) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    test.guarded.refuses = accepts;
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run(keyed(id, false))), ErrorCode::store_full);
    test.guarded.refuses = nullptr;
    const TaskView again = co_await test.runtime->run(keyed(id, false));
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->task(again.task.id)).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeFaultsTest, ACallWhoseEndCouldNotBeMadeDurableIsSettledByTheNextCommit) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit& commit) { return !accepts(commit); };
    const TaskView first = co_await test.runtime->run(keyed(id, true, "increment"));
    EXPECT_EQ(first.task.status, TaskStatus::failed);
    EXPECT_THAT(first.task.error, HasSubstr("the disk is full"));
    EXPECT_EQ((co_await test.runtime->run(keyed(id, true, "increment"))).task.status, TaskStatus::failed);
    test.guarded.refuses = nullptr;
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "1");
    EXPECT_EQ((co_await test.store.task(first.task.id))->status, TaskStatus::failed);
  });
}

TEST_F(RuntimeFaultsTest, ASessionWhoseFailureCouldNotBeMadeDurableHasFailedAllTheSame) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "remember")).task.session_id;
    test.guarded.refuses = [](const store::Commit&) { return true; };
    test.script.events->lost(Error(ErrorCode::worker_lost, "killed"));
    co_await test.settle();
    test.guarded.refuses = nullptr;
    EXPECT_EQ((co_await test.store.load(id))->record.head.status, SessionStatus::active);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "remember")), ErrorCode::worker_lost);
    EXPECT_EQ((co_await test.store.load(id))->record.head.status, SessionStatus::failed);
  });
}

TEST_F(RuntimeFaultsTest, AReleaseThatCouldNotBeMadeDurableGoesWithTheNextCommit) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.events->resource_added({.id = "r", .kind = "file", .cleanup = JsonObject{{"path", "/nowhere/x"}}});
    co_await test.settle();
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 1u);
    test.script.events->resource_released("r");
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.call(id, "run");
    test.guarded.refuses = nullptr;
    co_await test.call(id, "run");
    EXPECT_THAT((co_await test.store.load(id))->resources, IsEmpty());
  });
}

TEST_F(RuntimeFaultsTest, AReleaseIsNotForgottenBesideAResourceThatCameAndWent) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    session::WorkerEvents& worker = *test.script.events;
    worker.resource_added({.id = "a", .kind = "file", .cleanup = JsonObject{{"path", "/nowhere/a"}}});
    co_await test.settle();
    worker.resource_released("a");
    worker.resource_added({.id = "b", .kind = "file", .cleanup = JsonObject{{"path", "/nowhere/b"}}});
    worker.resource_released("b");
    co_await test.settle();
    co_await test.call(id, "run");
    EXPECT_THAT((co_await test.store.load(id))->resources, IsEmpty());
  });
}

TEST_F(RuntimeFaultsTest, ACallThatNeverReachedItsDeadWorkerGoesToAnotherOnce) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.misses = 1;
    const TaskView view = co_await test.call(id, "miss");
    EXPECT_EQ(view.task.status, TaskStatus::completed);
    EXPECT_EQ(view.task.output, "\"reached\"");
    EXPECT_THAT(co_await test.event_types(id),
                testing::IsSupersetOf({"worker.lost", "worker.started", "call.completed"}));
    test.script.misses = 2;
    EXPECT_EQ((co_await test.call(id, "miss")).task.status, TaskStatus::failed);
    EXPECT_EQ((co_await test.call(id, "miss")).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeFaultsTest, ACallThatGoesToAnotherWorkerRunsAgainOnceThatIsThere) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.misses = 1;
    const auto call = co_await test.start(id, "wait");
    EXPECT_EQ(call->task.status, TaskStatus::running);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    EXPECT_EQ(call->task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeFaultsTest, ACallThatNeverReachedItsDeadWorkerFailsWhereTheMemoryIsGone) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.misses = 1;
    const TaskView view = co_await test.call(id, "miss");
    EXPECT_EQ(view.task.status, TaskStatus::failed);
    EXPECT_THAT(view.task.error, HasSubstr("WORKER_LOST"));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::worker_lost);
  });
}

TEST_F(RuntimeFaultsTest, AWorkerIsToldAgainWhatChangedOutsideWhenItsCallFailed) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.runtime->change_state(id, {{"a", Json(1)}}, "me");
    co_await test.call(id, "throw_bytes");  // perhaps before it was told, as with a frame that is too large
    co_await test.runtime->change_state(id, {{"b", Json(2)}}, "me");
    co_await test.call(id, "run");
    EXPECT_THAT(test.script.outside_changes, ElementsAre(store::StateChange{"a", "1"}, store::StateChange{"b", "2"}));
    co_await test.call(id, "run");
    EXPECT_THAT(test.script.outside_changes, IsEmpty());
  });
}

TEST_F(RuntimeFaultsTest, OpeningAWorkerAndTheCallHaveOneDeadline) {
  script.hold_open = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "wait");
    const std::chrono::milliseconds timeout = call->timeout;
    co_await test.pass(timeout - Seconds(1));
    test.script.hold_open = false;
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ(call->task.status, TaskStatus::running);
    co_await test.pass(Seconds(1));
    co_await test.pass(Seconds(3));  // the grace
    co_await LiveCall::wait_final(call);
    EXPECT_THAT(call->task.error, HasSubstr("call_timeout"));
  });
}

TEST_F(RuntimeFaultsTest, ANoteDoesNotFailWithARepeatedCallThatIsRefusedBesideIt) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    co_await test.runtime->run(keyed(id, true));
    const auto recorded = std::make_shared<Completion<bool>>();
    TaskGroup group(test.loop.executor());
    group.spawn(expect_code(test.runtime->run(keyed(id, true, "increment")), ErrorCode::idempotency_mismatch));
    // Its own commit begins after that of the call.
    test.script.events->resource_added({.id = "r", .kind = "thing", .recorded = recorded});
    EXPECT_TRUE(co_await recorded->wait());
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 1u);
    co_await group.join();
  });
}

TEST_F(RuntimeFaultsTest, ANoteFailsAsItsCommitFails) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const auto recorded = std::make_shared<Completion<bool>>();
    test.guarded.refuses = [](const store::Commit&) { return true; };
    test.script.events->resource_added({.id = "r", .kind = "thing", .recorded = recorded});
    EXPECT_EQ(co_await RuntimeTest::code_of(recorded->wait()), ErrorCode::store_full);
    test.guarded.refuses = nullptr;
    co_await test.call(id, "run");
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 1u);  // the app may have acquired it all the same
  });
}

TEST_F(RuntimeFaultsTest, WhatAWorkerSaysOfItsResourcesDoesNotPileUpBetweenCalls) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    for (std::size_t i = 0; i < limits::events_per_commit; ++i) {
      test.script.events->resource_added({.id = "r", .kind = "thing"});
      test.script.events->resource_released("r");
    }
    co_await test.settle();
    EXPECT_GE((co_await test.store.load(id))->record.head.chain.seq, 2 * limits::events_per_commit);
  });
}

TEST_F(RuntimeFaultsTest, RefusesAWorkerMoreResourcesThanASessionMayHave) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    co_await test.new_session();
    std::size_t taken = 0;
    try {
      for (;; ++taken) test.script.events->resource_added({.id = std::to_string(taken), .kind = "thing"});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::too_large);
    }
    EXPECT_EQ(taken, limits::resources_per_session);
  });
}

TEST_F(RuntimeFaultsTest, RefusesANoteThatIsTooLarge) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    co_await test.new_session();
    const auto note = [&test](std::size_t bytes) {
      test.script.events->resource_added({.id = "r", .kind = "k", .cleanup = Json(std::string(bytes, 'x'))});
    };
    note(8 * limits::kibibyte - 4);  // with its quotes, id and kind
    EXPECT_THROW(note(8 * limits::kibibyte - 3), Error);
    co_return;
  });
}

TEST_F(RuntimeFaultsTest, AnErrorThatIsNoTextFailsItsCallOnly) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const TaskView failed = co_await test.call(id, "throw_bytes");
    EXPECT_EQ(failed.task.status, TaskStatus::failed);
    EXPECT_THAT(failed.task.error, HasSubstr("no UTF-8: \xEF\xBF\xBD"));
    EXPECT_EQ((co_await test.call(id, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeFaultsTest, AWorkerWhoseCleanUpFailsWithAHugeErrorIsClosedAllTheSame) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.close_error = Error(ErrorCode::cleanup_failed, std::string(limits::event_bytes, '\x01'),
                                    {{"why", std::string(limits::event_bytes, '\xFF')}});
    co_await test.runtime->end_session(id, "me");
    EXPECT_EQ((co_await test.store.load(id))->record.head.status, SessionStatus::ended);
  });
}

TEST_F(RuntimeFaultsTest, WhatAWorkerLeftThatWasGoneBeforeItHadCleanedUpIsCleanedUp) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const std::string path = testing::TempDir() + "left-" + std::to_string(::getpid());
    test.script.events->resource_added({.id = "r", .kind = "file", .cleanup = JsonObject{{"path", path}}});
    std::ofstream(path) << "left";
    test.script.close_error = Error(ErrorCode::worker_lost, "the worker ended before it had cleaned up");
    co_await test.runtime->end_session(id, "me");
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_THAT(co_await test.event_types(id),
                testing::IsSupersetOf({"worker.lost", "resource.released", "session.ended"}));
    EXPECT_THAT((co_await test.store.load(id))->resources, IsEmpty());
  });
}

TEST_F(RuntimeFaultsTest, AWorkerWhoseLateAnswerWasDroppedIsToldWhatTheStateIs) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "increment")).task.session_id;
    RunRequest late{.app = "app", .function = "change_and_wait", .session = id, .wait = false, .call_timeout = 5s};
    const TaskView accepted = co_await test.runtime->run(late);
    co_await test.settle();
    co_await test.pass(5s);
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->task(accepted.task.id)).task.status, TaskStatus::failed);
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "2");
    EXPECT_THAT(test.script.outside_changes, ElementsAre(store::StateChange{"count", "1"}));
  });
}

TEST_F(RuntimeFaultsTest, EndingASessionDropsACallThatIsJustBeingAccepted) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = dynamic_cast<RuntimeFaultsTest&>(base);
    const std::string id = co_await test.new_session();
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    std::shared_ptr<LiveCall> call;
    group.spawn([](RuntimeTest& of, RunRequest request) -> Async<void> {
      const TaskView view = co_await of.runtime->run(std::move(request));
      EXPECT_EQ(view.task.status, TaskStatus::cancelled);
    }(test, keyed(id, true, "wait")));
    co_await test.settle();
    group.spawn(test.runtime->end_session(id, "me"));
    co_await test.settle();
    co_await test.let_go();
    EXPECT_EQ(group.size(), 0u);
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_THAT(test.script.log, ElementsAre("open", "call run", "close ended"));
  });
}

TEST_F(RuntimeFaultsTest, EndingASessionDoesNotWaitForAWorkerThatDoesNotStart) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    test.script.hold_open = true;
    const auto call = co_await test.start("new", "run");
    TaskGroup group(test.loop.executor());
    group.spawn(test.runtime->end_session(call->task.session_id, "me"));
    co_await test.settle();
    co_await test.pass(2s);
    EXPECT_EQ(group.size(), 0u);
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ(call->task.status, TaskStatus::cancelled);
  });
}

TEST_F(RuntimeFaultsTest, ASessionThatIsJustBeingCreatedDoesNotComeToLifeInAClosedRuntime) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = dynamic_cast<RuntimeFaultsTest&>(base);
    test.guarded.holds_creates = true;
    TaskGroup group(test.loop.executor());
    group.spawn(expect_code(test.call("new", "run"), ErrorCode::unavailable));
    co_await test.settle();
    co_await test.runtime->close(test.clock.instant());
    co_await test.let_go();
    co_await group.join();
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    EXPECT_THAT(test.script.log, IsEmpty());
  });
}

TEST_F(RuntimeFaultsTest, ACallIsServedWhileALostWorkerIsBeingReplaced) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.events->lost(Error(ErrorCode::worker_lost, "killed"));
    EXPECT_EQ((co_await test.call(id, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeFaultsTest, ALifetimeEndsASessionWithoutAnythingElseToo) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const SessionView created = co_await test.runtime->create_session({.lifetime = 100s});
    EXPECT_EQ(created.record.head.expires_at, test.clock.now() + 100s);
    co_await test.pass(60s);
    co_await test.pass(41s);
    EXPECT_EQ((co_await test.store.load(created.record.id))->record.head.status, SessionStatus::expired);
  });
}

}  // namespace

}  // namespace sojourn::runtime
