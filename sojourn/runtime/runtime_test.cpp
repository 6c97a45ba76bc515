#include "sojourn/runtime/runtime.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/store/verify.hpp"

namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::TaskStatus;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(RuntimeTest, KeepsOneWorkerWarmForAllCallsOfASession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "remember")).task.session_id;
    EXPECT_TRUE(is_session_id(id));
    EXPECT_EQ((co_await test.call(id, "remember")).task.output, "2");
    EXPECT_EQ((co_await test.call(id, "remember")).task.output, "3");
    EXPECT_THAT(test.script.log, ElementsAre("open", "call remember", "call remember", "call remember"));
  });
}

TEST_F(RuntimeTest, CommitsOutputAndStateBeforeItAnswers) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView view = co_await test.call("new", "increment");
    EXPECT_EQ(view.task.status, TaskStatus::completed);
    const auto stored = co_await test.store.task(view.task.id);
    EXPECT_TRUE(stored);
    if (!stored) co_return;
    EXPECT_EQ(*stored, view.task);
    const auto snapshot = co_await test.store.load(view.task.session_id);
    EXPECT_EQ(snapshot->state.at("count"), "1");
    EXPECT_EQ(snapshot->record.head.call_count, 1u);
    EXPECT_TRUE((co_await store::verify(test.store, view.task.session_id)).ok());
  });
}

TEST_F(RuntimeTest, ServesCallsOfOneSessionOneAtATimeInOrderOfArrival) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const auto first = co_await test.start(id, "wait");
    const auto second = co_await test.start(id, "increment");
    const auto third = co_await test.start(id, "wait");
    EXPECT_EQ(first->task.status, TaskStatus::running);
    EXPECT_EQ(second->task.status, TaskStatus::queued);
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ(second->task.status, TaskStatus::completed);
    EXPECT_EQ(third->task.status, TaskStatus::running);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(third);
    EXPECT_EQ(test.script.most_running, 1);
    EXPECT_EQ(first->task.seq + 1, second->task.seq);
    EXPECT_EQ(second->task.seq + 1, third->task.seq);
  });
}

TEST_F(RuntimeTest, ServesSessionsAtTheSameTime) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto first = co_await test.start("new", "wait");
    const auto second = co_await test.start("new", "wait");
    EXPECT_EQ(test.script.most_running, 2);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(first);
    co_await LiveCall::wait_final(second);
  });
}

TEST_F(RuntimeTest, AFailedCallChangesNothingAndTheSessionGoesOn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "increment")).task.session_id;
    const TaskView failed = co_await test.call(id, "fail");
    EXPECT_EQ(failed.task.status, TaskStatus::failed);
    EXPECT_THAT(failed.task.error, HasSubstr("ValueError: no"));
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "2");
    EXPECT_THAT(co_await test.event_types(id),
                ElementsAre("session.created", "worker.started", "call.completed", "call.failed", "call.completed"));
  });
}

TEST_F(RuntimeTest, ACheckpointStaysWhenTheCallFailsAfterIt) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView failed = co_await test.call("new", "checkpoint_then_fail");
    EXPECT_EQ(failed.task.status, TaskStatus::failed);
    EXPECT_EQ((co_await test.call(failed.task.session_id, "read")).task.output, R"({"kept":true})");
  });
}

TEST_F(RuntimeTest, AnswersACallThatIsNotWaitedForOnceItIsAcceptedDurably) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView view =
        co_await test.runtime->run({.app = "app", .function = "wait", .session = "new", .wait = false});
    EXPECT_FALSE(store::is_final(view.task.status));
    EXPECT_EQ((co_await test.store.task(view.task.id))->status, TaskStatus::received);
    co_await test.settle();
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->task(view.task.id)).task.output, R"("released")");
  });
}

TEST_F(RuntimeTest, TheSameKeyGivesTheFirstTask) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const RunRequest request{.app = "app", .function = "increment", .session = id, .idempotency_key = "k"};
    const TaskView first = co_await test.runtime->run(request);
    const TaskView again = co_await test.runtime->run(request);
    EXPECT_EQ(first.task.id, again.task.id);
    EXPECT_EQ(again.task.output, "1");
    RunRequest other = request;
    other.input = 5;
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run(other)), ErrorCode::idempotency_mismatch);
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "2");
  });
}

TEST_F(RuntimeTest, TheSameKeyGivesTheFirstTaskAlsoWhenItsSessionIsOver) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const RunRequest request{.app = "app", .function = "end", .session = id, .idempotency_key = "k"};
    const TaskView first = co_await test.runtime->run(request);
    co_await test.settle();
    const TaskView again = co_await test.runtime->run(request);
    EXPECT_EQ(first.task.id, again.task.id);
    EXPECT_EQ(again.task.status, TaskStatus::completed);
    RunRequest other = request;
    other.function = "run";
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run(other)), ErrorCode::idempotency_mismatch);
    other.idempotency_key = "other";
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run(other)), ErrorCode::session_ended);
  });
}

TEST_F(RuntimeTest, TheSameKeyOpensOneSession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const RunRequest request{.app = "app", .function = "increment", .session = "new", .idempotency_key = "k"};
    const TaskView first = co_await test.runtime->run(request);
    const TaskView again = co_await test.runtime->run(request);
    EXPECT_EQ(first.task.id, again.task.id);
    EXPECT_EQ(first.task.session_id, again.task.session_id);
    EXPECT_EQ(again.task.output, "1");
    RunRequest other = request;
    other.input = 5;
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run(other)), ErrorCode::idempotency_mismatch);
    other.actor = "somebody else";
    EXPECT_NE((co_await test.runtime->run(other)).task.session_id, first.task.session_id);
  });
}

TEST_F(RuntimeTest, TheSameKeyOpensOneSessionAlsoWhenBothComeTogether) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const RunRequest request{.app = "app", .function = "increment", .session = "new", .idempotency_key = "k"};
    std::vector<TaskView> views;
    TaskGroup group(test.loop.executor());
    const auto run = [](RuntimeTest& in, RunRequest what, std::vector<TaskView>& into) -> Async<void> {
      into.push_back(co_await in.runtime->run(std::move(what)));
    };
    for (int i = 0; i < 3; ++i) group.spawn(run(test, request, views));
    co_await group.join();
    EXPECT_EQ(views.at(0).task.id, views.at(1).task.id);
    EXPECT_EQ(views.at(0).task.id, views.at(2).task.id);
  });
}

TEST_F(RuntimeTest, ACallWithASessionOfItsOwnDoesNotEndOneThatWasCreatedUnderItsKey) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const SessionView created = co_await test.runtime->create_session({.app = "app", .idempotency_key = "k"});
    const TaskView alone =
        co_await test.runtime->run({.app = "app", .function = "increment", .idempotency_key = "k"});
    co_await test.settle();
    EXPECT_NE(alone.task.session_id, created.record.id);
    EXPECT_EQ((co_await test.runtime->session(created.record.id)).record.head.status, store::SessionStatus::active);
  });
}

TEST_F(RuntimeTest, TheSameKeyGivesTheOnlyCallOfASessionOfItsOwn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const RunRequest request{.app = "app", .function = "increment", .idempotency_key = "k"};
    const TaskView first = co_await test.runtime->run(request);
    co_await test.settle();
    const TaskView again = co_await test.runtime->run(request);
    EXPECT_EQ(first.task.id, again.task.id);
    EXPECT_EQ(again.task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeTest, TheSameKeyJoinsACallThatStillRuns) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const RunRequest request{.app = "app", .function = "wait", .session = id, .idempotency_key = "k", .wait = false};
    const TaskView first = co_await test.runtime->run(request);
    co_await test.settle();
    const TaskView again = co_await test.runtime->run(request);
    EXPECT_EQ(first.task.id, again.task.id);
    EXPECT_EQ(again.task.status, TaskStatus::running);
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ(std::ranges::count(test.script.log, "call wait"), 1);
  });
}

TEST_F(RuntimeTest, RefusesACallPastTheQueueLimit) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    std::vector<std::shared_ptr<LiveCall>> calls;
    calls.reserve(6);
    for (int i = 0; i < 6; ++i) calls.push_back(co_await test.start(id, "wait"));  // one runs, five wait
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::queue_full);
    for (const auto& call : calls) {
      test.script.release.notify_all();
      co_await LiveCall::wait_final(call);
      co_await test.settle();
    }
    EXPECT_EQ((co_await test.call(id, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeTest, RefusesASessionPastTheAppsLimit) {
  info.max_sessions = 2;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string first = co_await test.new_session();
    co_await test.new_session();
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call("new", "run")), ErrorCode::too_many_sessions);
    co_await test.runtime->end_session(first, "me");
    co_await test.new_session();
  });
}

TEST_F(RuntimeTest, RefusesWhatItDoesNotKnow) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    Runtime& runtime = *test.runtime;
    const std::string id = co_await test.new_session();
    EXPECT_EQ(co_await RuntimeTest::code_of(runtime.run({.app = "nothing", .session = "new"})),
              ErrorCode::app_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(runtime.run({.session = "new"})), ErrorCode::invalid_request);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call("new", "nothing")), ErrorCode::function_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "nothing")), ErrorCode::function_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call("sess_20240101_000000_abcdef", "run")),
              ErrorCode::session_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call("../../etc/passwd", "run")), ErrorCode::session_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(std::string("sess_\0", 6), "run")),
              ErrorCode::session_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(runtime.task("task_0")), ErrorCode::task_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(runtime.session("sess_20240101_000000_abcdef")),
              ErrorCode::session_not_found);
    EXPECT_EQ(co_await RuntimeTest::code_of(runtime.run({.app = "app", .session = "new", .session_timeout = 0s})),
              ErrorCode::invalid_request);
    EXPECT_EQ(co_await RuntimeTest::code_of(runtime.run({.app = "app", .session = "new", .session_timeout = 3601s})),
              ErrorCode::invalid_request);
    const SessionViews page = co_await runtime.sessions({}, "", 10);
    EXPECT_EQ(page.sessions.size(), 1u);  // no refused call left a session behind
  });
}

TEST_F(RuntimeTest, ASessionIsCalledWithItsOwnAppOnly) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    test.runtime->add_app(std::make_shared<TestApp>(session::AppInfo{.name = "other"}, test.script));
    const std::string id = co_await test.new_session();
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->run({.app = "other", .session = id})),
              ErrorCode::app_mismatch);
    EXPECT_EQ((co_await test.runtime->run({.session = id})).task.status, TaskStatus::completed);
  });
}

TEST_F(RuntimeTest, ACallWithoutASessionHasOneOfItsOwn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView view = co_await test.call("", "run", 5);
    EXPECT_EQ(view.task.output, "5");
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->session(view.task.session_id)).record.head.status, store::SessionStatus::ended);
    EXPECT_EQ(test.script.log.back(), "close ended");
  });
}

TEST_F(RuntimeTest, ACallMayEndItsSession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    EXPECT_EQ((co_await test.call(id, "end")).task.status, TaskStatus::completed);
    co_await test.settle();
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::session_ended);
  });
}

TEST_F(RuntimeTest, EndingCancelsWhatWaitsAndClosesTheWorker) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const auto running = co_await test.start(id, "wait_for_cancel");
    const auto waiting = co_await test.start(id, "run");
    co_await test.runtime->end_session(id, "me");
    EXPECT_EQ(running->task.status, TaskStatus::cancelled);
    EXPECT_EQ(waiting->task.status, TaskStatus::cancelled);
    EXPECT_EQ(test.script.log.back(), "close ended");
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->end_session(id, "me")), ErrorCode::session_ended);
    EXPECT_EQ((co_await test.event_types(id)).back(), "session.ended");
    EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
  });
}

TEST_F(RuntimeTest, ACancelledCallIsStoppedAfterTheGraceIfItDoesNotStopItself) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto deaf = co_await test.start("new", "wait");
    co_await test.runtime->cancel(deaf->task.id);
    EXPECT_EQ(deaf->task.status, TaskStatus::cancelling);
    co_await test.pass(1900ms);
    EXPECT_FALSE(deaf->is_final());
    co_await test.pass(200ms);
    EXPECT_EQ(deaf->task.status, TaskStatus::cancelled);
    EXPECT_THAT(test.script.log, ElementsAre("open", "call wait", "kill", "close lost"));
  });
}

TEST_F(RuntimeTest, ACallThatStopsWhenAskedKeepsItsWorker) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto polite = co_await test.start("new", "wait_for_cancel");
    co_await test.runtime->cancel(polite->task.id);
    co_await LiveCall::wait_final(polite);
    EXPECT_EQ(polite->task.status, TaskStatus::cancelled);
    EXPECT_EQ((co_await test.call(polite->task.session_id, "run")).task.status, TaskStatus::completed);
    const TaskView again = co_await test.runtime->cancel(polite->task.id);  // a final call stays as it is
    EXPECT_EQ(again.task.status, TaskStatus::cancelled);
  });
}

TEST_F(RuntimeTest, ACallPastItsDeadlineFailsAndItsWorkerIsEnded) {
  info.call_timeout = 30s;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto slow = co_await test.start("new", "wait");
    co_await test.pass(29s);
    EXPECT_EQ(slow->task.status, TaskStatus::running);
    co_await test.pass(1s);
    EXPECT_EQ(slow->task.status, TaskStatus::cancelling);  // it is asked to stop first
    co_await test.pass(2s);
    EXPECT_EQ(slow->task.status, TaskStatus::failed);
    EXPECT_THAT(slow->task.error, HasSubstr("call_timeout"));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(slow->task.session_id, "run")), ErrorCode::worker_lost);
  });
}

TEST_F(RuntimeTest, ASessionExpiresWhenItIsIdleForItsTimeout) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView first =
        co_await test.runtime->run({.app = "app", .function = "remember", .session = "new", .session_timeout = 10s});
    const std::string id = first.task.session_id;
    co_await test.pass(9s);
    co_await test.call(id, "remember");
    co_await test.pass(9s);
    EXPECT_EQ((co_await test.call(id, "remember")).task.output, "3");  // each call slides the window
    co_await test.pass(9s);
    co_await test.runtime->keepalive(id, "me");  // so does a keepalive, without a call
    co_await test.pass(9s);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::active);
    co_await test.pass(2s);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::expired);
    EXPECT_EQ(test.script.log.back(), "close expired");
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::session_expired);
  });
}

TEST_F(RuntimeTest, ASessionNeverExpiresWhileACallRunsOrWaits) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView first = co_await test.runtime->run(
        {.app = "app", .function = "wait", .session = "new", .wait = false, .session_timeout = 5s});
    co_await test.settle();
    co_await test.pass(60s);
    const std::string id = first.task.session_id;
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::active);
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->task(first.task.id)).task.status, TaskStatus::completed);
    co_await test.pass(4s);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::active);
    co_await test.pass(2s);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::expired);
  });
}

TEST_F(RuntimeTest, ALifetimeEndsASessionHoweverBusyItIs) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView first =
        co_await test.runtime->run({.app = "app", .session = "new", .session_timeout = 60s, .lifetime = 100s});
    const std::string id = first.task.session_id;
    co_await test.pass(50s);
    co_await test.call(id, "run");
    co_await test.pass(49s);
    co_await test.call(id, "run");
    co_await test.pass(2s);
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::expired);
  });
}

TEST_F(RuntimeTest, ALostWorkerFailsTheCallAndTheSessionHonestly) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const TaskView lost = co_await test.call(id, "die");
    EXPECT_EQ(lost.task.status, TaskStatus::failed);
    EXPECT_THAT(lost.task.error, HasSubstr("SIGKILL"));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::worker_lost);
    co_await test.settle();
    const SessionView view = co_await test.runtime->session(id);
    EXPECT_EQ(view.record.head.status, store::SessionStatus::failed);
    EXPECT_THAT(view.record.head.end_reason, HasSubstr("SIGKILL"));
    EXPECT_EQ(test.script.log.back(), "close lost");
  });
}

TEST_F(RuntimeTest, ALostWorkerFailsTheCallsThatWaitToo) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const RunRequest request{.app = "app", .function = "die", .session = id, .wait = false};
    co_await test.runtime->run(request);
    const TaskView waiting = co_await test.runtime->run(request);
    co_await test.settle();
    const TaskView lost = co_await test.runtime->task(waiting.task.id);
    EXPECT_EQ(lost.task.status, TaskStatus::failed);
    EXPECT_THAT(lost.task.error, HasSubstr("WORKER_LOST"));
    EXPECT_EQ(std::ranges::count(test.script.log, "call die"), 1);
  });
}

TEST_F(RuntimeTest, AWorkerLostBetweenCallsFailsTheSession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.events->lost(Error(ErrorCode::worker_lost, "the worker exited with status 1"));
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::worker_lost);
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::failed);
  });
}

TEST_F(RuntimeTest, AnAppThatRecoversGoesOnWithANewWorkerAndItsState) {
  info.recover = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "increment")).task.session_id;
    EXPECT_EQ((co_await test.call(id, "die")).task.status, TaskStatus::failed);
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "2");
    EXPECT_TRUE(test.script.restored);
    EXPECT_THAT(co_await test.event_types(id),
                ElementsAre("session.created", "worker.started", "call.completed", "call.failed", "worker.lost",
                            "worker.started", "call.completed"));
  });
}

TEST_F(RuntimeTest, StateWrittenFromOutsideTakesItsTurn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.call("new", "increment")).task.session_id;
    co_await test.runtime->change_state(id, {{"count", Json(41)}, {"other", Json("x")}}, "me");
    EXPECT_EQ((co_await test.call(id, "increment")).task.output, "42");
    co_await test.runtime->change_state(id, {{"other", std::nullopt}}, "me");
    EXPECT_EQ((co_await test.runtime->stored(id)).state.size(), 1u);
    EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
  });
}

TEST_F(RuntimeTest, FollowersSeePartialsAndDeltasBeforeTheEnd) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "emit");
    const auto updates = call->updates_after(0);
    std::string seen;
    for (const Update& update : updates) {
      if (update.kind != Update::Kind::status) seen += update.text;
    }
    EXPECT_EQ(seen, R"({"progress":1}"abc")");
    EXPECT_EQ((co_await test.store.task(call->task.id))->output, "null");  // provisional: nothing of it is stored
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    EXPECT_EQ(call->task.output, R"({"progress":2})");
  });
}

TEST_F(RuntimeTest, AnAppMayCallAnother) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    session::AppInfo helper = test_app_info();
    helper.name = "helper";
    test.runtime->add_app(std::make_shared<TestApp>(helper, test.script));
    EXPECT_EQ((co_await test.call("new", "delegate")).task.output, "1");
  });
}

TEST_F(RuntimeTest, WhatAWorkerSaysBetweenCallsIsInTheJournalWithTheNextCommit) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    test.script.events->log(LogLevel::info, "stdout", "between", {});
    co_await test.call(id, "run");
    EXPECT_THAT(co_await test.event_types(id),
                ElementsAre("session.created", "worker.started", "call.completed", "log", "call.completed"));
  });
}

TEST_F(RuntimeTest, AResourceThatCanBeCleanedUpLaterIsWrittenDownAtOnce) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "wait");
    const std::string id = call->task.session_id;
    test.script.events->resource_added({.id = "r", .kind = "file", .cleanup = JsonObject{{"path", "/nowhere/x"}}});
    co_await test.settle();
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 1u);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    co_await test.runtime->end_session(id, "me");
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 0u);
  });
}

TEST_F(RuntimeTest, ANoteIsAnsweredAfterItsCommit) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await test.new_session();
    const auto recorded = std::make_shared<Completion<bool>>();
    test.guarded.holds_commits = true;
    test.script.events->resource_added({.id = "r", .kind = "thing", .recorded = recorded});
    co_await test.settle();
    EXPECT_FALSE(recorded->is_set());
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    EXPECT_TRUE(co_await recorded->wait());
    EXPECT_EQ((co_await test.store.load(id))->resources.size(), 1u);
  });
}

TEST_F(RuntimeTest, ClosingLetsRunningCallsFinishAndFailsTheRest) {
  std::shared_ptr<LiveCall> finished;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto finishes = co_await test.start("new", "wait");
    TaskGroup group(test.loop.executor());
    group.spawn(test.runtime->close(test.clock.instant() + 5s));
    co_await test.settle();
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call("new", "run")), ErrorCode::unavailable);
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ(finishes->task.status, TaskStatus::completed);
    EXPECT_EQ(test.script.log.back(), "close server_stopping");
  });
}

TEST_F(RuntimeTest, ClosingFailsWhatDoesNotFinishWithinTheGrace) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto hangs = co_await test.start("new", "wait");
    const auto waits = co_await test.start(hangs->task.session_id, "run");
    TaskGroup group(test.loop.executor());
    group.spawn(test.runtime->close(test.clock.instant() + 5s));
    co_await test.settle();
    co_await test.pass(5s);
    co_await test.pass(3s);
    co_await group.join();
    for (const auto& call : {hangs, waits}) {
      const auto stored = co_await test.store.task(call->task.id);
      EXPECT_EQ(stored->status, TaskStatus::failed);
      EXPECT_THAT(stored->error, HasSubstr("the server stopped"));
    }
    EXPECT_EQ((co_await test.store.load(hangs->task.session_id))->record.head.status, store::SessionStatus::failed);
  });
}

}  // namespace

}  // namespace sojourn::runtime
