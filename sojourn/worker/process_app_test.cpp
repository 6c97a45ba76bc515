#include "sojourn/worker/process_app.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <csignal>
#include <string>

#include "sojourn/worker/process_test_bench.hpp"

namespace sojourn::worker {

namespace {

using Bench = ProcessTestBench;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ProcessAppTest : public Bench {};

std::string said_on_stderr(const Error& error) {
  const Json* said = error.details().if_contains("stderr");
  return said == nullptr ? "" : std::string(said->as_string());
}

TEST_F(ProcessAppTest, OpensCallsAndClosesAProcess) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    EXPECT_EQ(co_await bench.call(*worker, "echo", {{"a", 1}}), Json({{"a", 1}}));
    EXPECT_EQ(co_await bench.call(*worker, "echo", "again"), Json("again"));
    co_await bench.close(*worker);
    EXPECT_NE(bench.events.find("closing: ended"), nullptr);
    EXPECT_THAT(bench.events.losses, IsEmpty());
  });
}

TEST_F(ProcessAppTest, HandsTheOpeningOver) {
  run([](Bench& bench) -> Async<void> {
    session::Opening opening = bench.opening();
    opening.setup = {{"model", "small"}};
    opening.state = {{"count", 41}, {"list", JsonArray{1, 2.5, "x"}}};
    opening.restored = true;
    bench.session.set("count", 41);
    bench.session.state().accept();
    auto worker = co_await bench.app("app").open(std::move(opening), bench.in(Seconds(20)));
    const Json expected{{"setup", {{"model", "small"}}},
                        {"context", {{"shop", 7}}},
                        {"restored", true},
                        {"folder", bench.folder.string()},
                        {"session", "sess_test"}};
    EXPECT_EQ(co_await bench.call(*worker, "opening"), expected);
    EXPECT_EQ(co_await bench.call(*worker, "state"), Json({{"count", 41}, {"list", JsonArray{1, 2.5, "x"}}}));
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(42));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, GivesAWorkerOnlyTheNamedVariables) {
  ::setenv("SOJOURN_TEST_SECRET", "hush", 1);
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Json output = co_await bench.call(*worker, "environment");
    const JsonObject& variables = output.as_object();
    const std::string folder = bench.folder.string();
    EXPECT_EQ(variables.at("HOME"), Json(folder));
    EXPECT_EQ(variables.at("TMPDIR"), Json(folder + "/tmp"));
    EXPECT_EQ(variables.at("LANG"), Json("C.UTF-8"));
    EXPECT_EQ(variables.at("SOJOURN_PROTOCOL"), Json("1"));
    EXPECT_EQ(variables.at("SOJOURN_SESSION"), Json("sess_test"));
    EXPECT_EQ(variables.at("SOJOURN_APP"), Json("tests/app"));
    EXPECT_EQ(variables.at("SOJOURN_APP_DIR"), Json("/apps/test"));
    EXPECT_EQ(variables.at("TEETH"), Json("32"));
    EXPECT_FALSE(variables.contains("SOJOURN_TEST_SECRET"));
    EXPECT_TRUE(std::filesystem::is_directory(folder + "/tmp"));
    co_await bench.close(*worker);
  });
  ::unsetenv("SOJOURN_TEST_SECRET");
}

TEST_F(ProcessAppTest, KeepsStateChangesOfACallAndDropsThoseOfAFailedOne) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(1));
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(2));
    const Error error = co_await error_of(bench.call(*worker, "count_and_fail"));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_EQ(error.message(), "no luck");
    EXPECT_EQ(error.details().at("type"), Json("Luckless"));
    EXPECT_EQ(bench.session.get("count"), Json(2));
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(3));
    EXPECT_EQ(co_await bench.call(*worker, "forget"), Json(true));
    EXPECT_FALSE(bench.session.exists("count"));
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TellsTheWorkerWhatChangedOutside) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    co_await bench.call(*worker, "count");
    session::CallRequest request = bench.request("state");
    request.outside_changes = {{"count", std::nullopt}, {"flag", "true"}};
    TestScope scope(bench.session, std::move(request));
    EXPECT_EQ(co_await worker->call(scope), Json({{"flag", true}}));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, SavesACheckpointInMidCall) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("checkpoint"));
    EXPECT_EQ((co_await error_of(worker->call(scope))).message(), "after the checkpoint");
    bench.session.state().discard();
    EXPECT_EQ(scope.checkpoints, 1);
    EXPECT_THAT(scope.events, ElementsAre(std::pair<std::string, JsonObject>("seven", {{"is", 7}})));
    EXPECT_EQ(bench.session.get("count"), Json(7));
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(8));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TellsTheAppThatItsCheckpointFailed) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("checkpoint"));
    scope.checkpoint_error = std::make_exception_ptr(Error(ErrorCode::store_full, "no room"));
    const Error error = co_await error_of(worker->call(scope));
    bench.session.state().discard();
    EXPECT_EQ(error.code(), ErrorCode::store_full);
    EXPECT_EQ(error.message(), "no room");
    EXPECT_EQ(co_await bench.call(*worker, "count"), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, PassesOnProgressAndLogLinesOfACall) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("progress"));
    EXPECT_EQ(co_await worker->call(scope), Json("done"));
    EXPECT_THAT(scope.outputs, ElementsAre(Json({{"step", 0}}), Json({{"step", 1}}), Json({{"step", 2}})));
    EXPECT_THAT(scope.deltas, ElementsAre(Json("more")));
    if (scope.lines.size() == 1) {
      EXPECT_EQ(scope.lines[0].level, LogLevel::warning);
      EXPECT_EQ(scope.lines[0].message, "half way");
      EXPECT_EQ(scope.lines[0].fields, (JsonObject{{"at", 2}}));
    } else {
      ADD_FAILURE() << scope.lines.size() << " lines";
    }
    co_await bench.close(*worker);
  });
}

Async<void> cancel_when_running(session::Worker& worker, TestScope& scope) {
  while (scope.outputs.empty()) co_await scope.changed.wait();
  scope.cancel();
  worker.cancel();
}

TEST_F(ProcessAppTest, AsksTheWorkerToCancel) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("until_cancelled"));
    TaskGroup group(bench.loop.executor());
    group.spawn(cancel_when_running(*worker, scope));
    EXPECT_EQ((co_await error_of(worker->call(scope))).code(), ErrorCode::cancelled);
    co_await group.join();
    EXPECT_EQ(co_await bench.call(*worker, "echo", 1), Json(1));
    co_await bench.close(*worker);
  });
}

Async<void> cancel_and_continue(session::Worker& worker, pid_t process) {
  worker.cancel();
  ::kill(process, SIGCONT);
  co_return;
}

TEST_F(ProcessAppTest, ACallHearsACancelThatComesRightBehindIt) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const auto process = static_cast<pid_t>(worker->describe().at("pid").as_int64());
    ::kill(process, SIGSTOP);
    TestScope scope(bench.session, bench.request("until_cancelled"));
    TaskGroup group(bench.loop.executor());
    group.spawn(cancel_and_continue(*worker, process));
    EXPECT_EQ((co_await error_of(worker->call(scope))).code(), ErrorCode::cancelled);
    co_await group.join();
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, CallsAnotherAppForACall) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    EXPECT_EQ(co_await bench.call(*worker, "call_other", 21), Json(42));
    const Error error = co_await error_of(bench.call(*worker, "call_other", "x"));
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_EQ(error.message(), "not a number");
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, RefusesACallMoreAppCallsThanItMayHaveOpen) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("calls_many");
    const Json refused = co_await bench.call(*worker, "any");
    EXPECT_EQ(refused.at("call_id"), Json("64"));
    EXPECT_EQ(refused.at("error").at("code"), Json("queue_full"));
    worker->kill(Error(ErrorCode::unavailable, "enough"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, NotesResources) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    co_await bench.call(*worker, "acquire");
    if (bench.events.resources.size() == 2) {
      EXPECT_EQ(bench.events.resources[0].id, "f1");
      EXPECT_EQ(bench.events.resources[0].kind, "file");
      EXPECT_EQ(bench.events.resources[0].cost, 3);
      EXPECT_EQ(bench.events.resources[0].cleanup, Json({{"path", "/tmp/x"}}));
      EXPECT_EQ(bench.events.resources[1].cleanup, Json());
    } else {
      ADD_FAILURE() << bench.events.resources.size() << " resources";
    }
    EXPECT_THAT(bench.events.released, ElementsAre("f1"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, AnswersANoteOnceItIsRecorded) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    bench.events.holds_records = true;
    TestScope scope(bench.session, bench.request("acquire_recorded", {{"path", "/tmp/x"}}));
    TaskGroup group(bench.loop.executor());
    bool answered = false;
    group.spawn([](session::Worker& called, TestScope& in, bool& done) -> Async<void> {
      EXPECT_EQ(co_await called.call(in), Json(true));
      done = true;
    }(*worker, scope, answered));
    co_await bench.until([&bench] { return !bench.events.resources.empty(); });
    EXPECT_FALSE(answered);
    bench.events.record(bench.events.resources.front());
    co_await group.join();
    EXPECT_TRUE(answered);
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TellsTheAppThatItsNoteCouldNotBeRecorded) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    bench.events.record_error = std::make_exception_ptr(Error(ErrorCode::store_full, "no room"));
    const Error error = co_await error_of(bench.call(*worker, "acquire_recorded", {{"path", "/tmp/x"}}));
    EXPECT_EQ(error.code(), ErrorCode::store_full);
    EXPECT_EQ(co_await bench.call(*worker, "echo", 1), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, ReadsNoMoreNotesThanMayWaitToBeRecorded) {
  run([](Bench& bench) -> Async<void> {
    bench.events.holds_records = true;
    auto worker = co_await bench.open("floods_resources");
    TestScope scope(bench.session, bench.request("any"));
    TaskGroup group(bench.loop.executor());
    group.spawn(
        [](session::Worker& called, TestScope& in) -> Async<void> { co_await called.call(in); }(*worker, scope));
    for (std::size_t i = 1; i <= 7; ++i) {
      co_await bench.until([&bench, i] { return bench.events.resources.size() >= 256 * i; });
      for (int turn = 0; turn < 100; ++turn) co_await sleep_until(bench.clock, bench.clock.instant());
      EXPECT_EQ(bench.events.resources.size(), 256 * i);
      bench.events.record(bench.events.resources.back());
    }
    co_await group.join();
    EXPECT_EQ(bench.events.resources.size(), 2'000u);
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, EndsAWorkerWhoseManyNotesCannotBeRecorded) {
  run([](Bench& bench) -> Async<void> {
    bench.events.record_error = std::make_exception_ptr(Error(ErrorCode::store_full, "no room"));
    auto worker = co_await bench.open("floods_resources");
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_THAT(error.message(), HasSubstr("could not be recorded: no room"));
    EXPECT_EQ(bench.events.resources.size(), 256u);
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, EndsTheSessionWhenACallSaysSo) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("end"));
    EXPECT_EQ(co_await worker->call(scope), Json("bye"));
    EXPECT_TRUE(scope.ended);
    EXPECT_THAT(scope.events, ElementsAre(std::pair<std::string, JsonObject>("farewell", {{"well", true}})));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TakesWhatAProgramPrintsLineByLine) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    co_await bench.call(*worker, "print");
    co_await bench.close(*worker);
    const LogLine* plain = bench.events.find("plain");
    EXPECT_TRUE(plain != nullptr && plain->stream == "stdout");
    EXPECT_NE(bench.events.find("broken \xEF\xBF\xBD utf8"), nullptr);
    const LogLine* cut = bench.events.find(std::string(8192, 'x'));
    EXPECT_TRUE(cut != nullptr && cut->fields == JsonObject({{"cut", true}}));
    const LogLine* error = bench.events.find("to stderr");
    EXPECT_TRUE(error != nullptr && error->stream == "stderr");
  });
}

TEST_F(ProcessAppTest, AnswersPingsInACall) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("pings");
    EXPECT_EQ(co_await bench.call(*worker, "any"), Json({{"type", "pong"}, {"n", 41}}));
    worker->kill(Error(ErrorCode::unavailable, "enough"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TakesAFloodOfProgressInOrder) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("flood");
    TestScope scope(bench.session, bench.request("any"));
    co_await worker->call(scope);
    EXPECT_THAT(scope.deltas, SizeIs(20'000));
    EXPECT_EQ(scope.deltas.back(), Json(19'999));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TakesALogLineThatComesAfterItsCall) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("late_log");
    EXPECT_EQ(co_await bench.call(*worker, "any"), Json(1));
    co_await bench.until([&bench] { return bench.events.find("late") != nullptr; });
    EXPECT_EQ(bench.events.find("late")->level, LogLevel::warning);
    EXPECT_THAT(bench.events.losses, IsEmpty());
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, RefusesAFunctionThatIsNotThereAndGoesOn) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    EXPECT_EQ((co_await error_of(bench.call(*worker, "nothing"))).code(), ErrorCode::function_not_found);
    EXPECT_EQ(co_await bench.call(*worker, "echo", 1), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, RefusesAnInputThatIsTooLargeAndGoesOn) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const std::string large(limits::json_bytes, 'x');
    EXPECT_EQ((co_await error_of(bench.call(*worker, "echo", Json(large)))).code(), ErrorCode::too_large);
    EXPECT_EQ((co_await error_of(bench.call(*worker, "too_much_output"))).code(), ErrorCode::too_large);
    EXPECT_FALSE(bench.session.exists("count"));
    const std::string largest(limits::json_bytes - 2, 'x');
    EXPECT_EQ(co_await bench.call(*worker, "echo", Json(largest)), Json(largest));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, DoesNotLetAnAppClaimThatItsWorkerIsLost) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Error error = co_await error_of(bench.call(*worker, "claim_lost"));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_EQ(error.details().at("code"), Json("WORKER_LOST"));
    EXPECT_EQ(co_await bench.call(*worker, "echo", 1), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, FailsTheCallInWhichTheProcessExits) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Error error = co_await error_of(bench.call(*worker, "exit"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_THAT(error.message(), HasSubstr("exited with status 4"));
    EXPECT_EQ(error.details().at("exit_status"), Json(4));
    EXPECT_EQ((co_await error_of(bench.call(*worker, "echo"))).code(), ErrorCode::worker_lost);
    EXPECT_THAT(bench.events.losses, IsEmpty());
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, NamesTheSignalThatEndedAProcess) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Error error = co_await error_of(bench.call(*worker, "abort"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_EQ(error.details().at("signal"), Json("SIGABRT"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, TellsTheSessionWhenAnIdleProcessDies) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    ::kill(static_cast<pid_t>(worker->describe().at("pid").as_int64()), SIGKILL);
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    EXPECT_EQ(bench.events.losses.at(0).code(), ErrorCode::worker_lost);
    EXPECT_EQ(bench.events.losses.at(0).details().at("signal"), Json("SIGKILL"));
    co_await bench.close(*worker);
    EXPECT_THAT(bench.events.losses, SizeIs(1));
  });
}

Async<void> kill_soon(session::Worker& worker, TestScope& scope) {
  while (scope.outputs.empty()) co_await scope.changed.wait();
  worker.kill(Error(ErrorCode::call_timeout, "too slow"));
}

TEST_F(ProcessAppTest, FailsTheRunningCallWithTheCauseOfItsKilling) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("until_cancelled"));
    TaskGroup group(bench.loop.executor());
    group.spawn(kill_soon(*worker, scope));
    EXPECT_EQ((co_await error_of(worker->call(scope))).code(), ErrorCode::call_timeout);
    co_await group.join();
    co_await bench.close(*worker);
    EXPECT_THAT(bench.events.losses, IsEmpty());
  });
}

TEST_F(ProcessAppTest, EndsAWorkerWhoseCallWasGivenUp) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("hang"));
    TaskGroup group(bench.loop.executor());
    bool ended = false;
    group.spawn([](session::Worker& called, TestScope& in, bool& over) -> Async<void> {
      EXPECT_EQ((co_await error_of(called.call(in))).code(), ErrorCode::cancelled);
      over = true;
    }(*worker, scope, ended));
    co_await sleep_until(bench.clock, bench.in(Milliseconds(1)));
    group.cancel();
    co_await group.join();
    EXPECT_TRUE(ended);
    EXPECT_THAT(bench.events.losses, SizeIs(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, DoesNotTakeAResultForTheNextCallsWhoseOwnCallWasGivenUp) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("hasty_checkpoint");
    TestScope scope(bench.session, bench.request("any"));
    scope.checkpoint_error =
        std::make_exception_ptr(boost::system::system_error(boost::asio::error::operation_aborted));
    co_await error_of(worker->call(scope));
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::worker_lost);
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, EndsAWorkerThatAsksAndNeverReads) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("deaf");
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::protocol_error);
    EXPECT_THAT(error.message(), HasSubstr("unread"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, EndsAWorkerThatHangsPastItsClosing) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("hangs_at_close");
    const Instant before = bench.clock.instant();
    EXPECT_EQ((co_await error_of(bench.close(*worker, Milliseconds(200)))).code(), ErrorCode::worker_lost);
    EXPECT_LT(bench.clock.instant() - before, Seconds(5));
  });
}

TEST_F(ProcessAppTest, KillsAWorkerThatIgnoresTerm) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("ignores_term");
    const auto pid = static_cast<pid_t>(worker->describe().at("pid").as_int64());
    EXPECT_EQ((co_await error_of(bench.close(*worker, Milliseconds(200)))).code(), ErrorCode::worker_lost);
    EXPECT_NE(::kill(pid, 0), 0);
  });
}

TEST_F(ProcessAppTest, LeavesNoDaemonOfAWorkerAlive) {
  run([](Bench& bench) -> Async<void> {
    auto daemonic = co_await bench.open("app");
    auto other = co_await bench.open("app");
    co_await bench.call(*daemonic, "daemon");
    co_await bench.call(*other, "daemon");
    // The supervisor, two workers, two daemons.
    EXPECT_THAT(descendants(::getpid()), SizeIs(5));
    co_await bench.close(*daemonic);
    EXPECT_THAT(descendants(::getpid()), SizeIs(3));
    EXPECT_EQ(co_await bench.call(*other, "echo", 1), Json(1));
    other->kill(Error(ErrorCode::unavailable, "enough"));
    co_await bench.close(*other);
    EXPECT_THAT(descendants(::getpid()), SizeIs(1));
  });
}

TEST_F(ProcessAppTest, CatchesADaemonThatForksItselfAwayAllTheTime) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    co_await bench.call(*worker, "hopper");
    co_await bench.close(*worker);
    EXPECT_THAT(descendants(::getpid()), SizeIs(1));
  });
}

TEST_F(ProcessAppTest, ReportsThatAnAppCouldNotClose) {
  run([](Bench& bench) -> Async<void> {
    session::Opening opening = bench.opening();
    opening.setup = "cannot close";
    auto worker = co_await bench.app("app").open(std::move(opening), bench.in(Seconds(20)));
    co_await bench.close(*worker);
    const LogLine* line = bench.events.find("a resource could not be cleaned up");
    EXPECT_NE(line, nullptr);
    if (line != nullptr) EXPECT_THAT(to_text(line->fields), HasSubstr("the teeth are stuck"));
  });
}

TEST_F(ProcessAppTest, ReportsResourcesThatCouldNotBeCleanedUp) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("failures");
    co_await bench.call(*worker, "any");
    co_await bench.close(*worker);
    const LogLine* line = bench.events.find("a resource could not be cleaned up");
    EXPECT_TRUE(line != nullptr && line->level == LogLevel::error);
    if (line == nullptr) co_return;
    EXPECT_EQ(line->fields.at("code"), Json("cleanup_failed"));
    EXPECT_EQ(line->fields.at("failure"), Json({{"id", "r1"}, {"kind", "file"}, {"message", "busy"}}));
  });
}

TEST_F(ProcessAppTest, SaysWhyAProgramDidNotStart) {
  run([](Bench& bench) -> Async<void> {
    const Error exits = co_await error_of(bench.open("exit"));
    EXPECT_EQ(exits.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(exits.message(), HasSubstr("tests/app"));
    EXPECT_EQ(exits.details().at("exit_status"), Json(3));
    EXPECT_EQ(said_on_stderr(exits), "cannot find my teeth");

    const Error missing =
        co_await error_of(bench.program({"/no/such/program"}).open(bench.opening(), bench.in(Seconds(20))));
    EXPECT_EQ(missing.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(missing.message(), HasSubstr("tests/app: /no/such/program"));
    EXPECT_EQ(missing.details().at("errno"), Json(ENOENT));

    session::Opening nowhere = bench.opening();
    nowhere.folder = "/proc";
    const Error folder = co_await error_of(bench.app("app").open(std::move(nowhere), bench.in(Seconds(20))));
    EXPECT_EQ(folder.code(), ErrorCode::io_error);
  });
}

// How opening fails when its time ends no sooner than in the stage that `message` is about: a busy machine may need
// more time for the stages before.
Async<Error> error_in_stage(Bench& bench, std::string mode, Json setup, std::string_view message) {
  for (Milliseconds time(100);; time *= 2) {
    session::Opening opening = bench.opening();
    opening.setup = setup;
    Error error = co_await error_of(bench.app(mode).open(std::move(opening), bench.in(time)));
    if (error.message().contains(message) || time > Seconds(20)) co_return error;
  }
}

TEST_F(ProcessAppTest, GivesUpAProgramThatNeverSaysHello) {
  run([](Bench& bench) -> Async<void> {
    const Error error = co_await error_in_stage(bench, "mute", nullptr, "did not say hello");
    EXPECT_EQ(error.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(error.message(), HasSubstr("did not say hello"));
    const Error setup = co_await error_in_stage(bench, "app", "hang", "setup did not end");
    EXPECT_EQ(setup.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(setup.message(), HasSubstr("setup did not end"));
  });
}

TEST_F(ProcessAppTest, LeavesNothingWhenAnOpeningIsGivenUp) {
  run([](Bench& bench) -> Async<void> {
    TaskGroup group(bench.loop.executor());
    bool ended = false;
    group.spawn([](Bench& opening, bool& over) -> Async<void> {
      EXPECT_EQ((co_await error_of(opening.open("mute"))).code(), ErrorCode::cancelled);
      over = true;
    }(bench, ended));
    co_await bench.until([] { return descendants(::getpid()).size() == 2; });
    group.cancel();
    co_await group.join();
    EXPECT_TRUE(ended);
    co_await bench.until([] { return descendants(::getpid()).size() == 1; });
  });
}

TEST_F(ProcessAppTest, PassesOnWhatASetupFailedWith) {
  run([](Bench& bench) -> Async<void> {
    session::Opening opening = bench.opening();
    opening.setup = "refuse";
    const Error error = co_await error_of(bench.app("app").open(std::move(opening), bench.in(Seconds(20))));
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_EQ(error.message(), "refused");
    EXPECT_EQ(error.details().at("by"), Json("setup"));
  });
}

TEST_F(ProcessAppTest, RefusesAnotherVersionOfTheProtocol) {
  run([](Bench& bench) -> Async<void> {
    const Error error = co_await error_of(bench.open("old"));
    EXPECT_EQ(error.code(), ErrorCode::protocol_error);
    EXPECT_THAT(error.message(), HasSubstr("version 99"));
  });
}

TEST_F(ProcessAppTest, EndsAProgramThatSaysGarbageAtStart) {
  run([](Bench& bench) -> Async<void> {
    EXPECT_EQ((co_await error_of(bench.open("garbage"))).code(), ErrorCode::protocol_error);
    EXPECT_EQ((co_await error_of(bench.open("not_ready"))).code(), ErrorCode::protocol_error);
    co_await bench.until([] { return descendants(::getpid()).size() == 1; });
  });
}

class BrokenProtocol : public ProcessAppTest, public testing::WithParamInterface<const char*> {
 public:
  static inline std::string mode;
};

TEST_P(BrokenProtocol, FailsTheCallAndEndsTheWorker) {
  mode = GetParam();
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open(mode);
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::protocol_error) << error.message();
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::protocol_error);
    EXPECT_THAT(bench.events.losses, IsEmpty());
    co_await bench.close(*worker);
    EXPECT_THAT(descendants(::getpid()), SizeIs(1));
  });
}

INSTANTIATE_TEST_SUITE_P(ProcessApp, BrokenProtocol,
                         testing::Values("garbage_in_call", "zero_in_call", "unknown_in_call", "other_call",
                                         "no_output", "bad_state", "complains"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(ProcessAppTest, TellsTheSessionOfASecondResult) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("two_results");
    EXPECT_EQ(co_await bench.call(*worker, "any"), Json(1));
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    EXPECT_EQ(bench.events.losses.at(0).code(), ErrorCode::protocol_error);
    co_await bench.close(*worker);
    EXPECT_THAT(bench.events.losses, SizeIs(1));
  });
}

TEST_F(ProcessAppTest, EndsAWorkerWhoseStateWasRefused) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("huge_state");
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::too_large);
    EXPECT_FALSE(bench.session.exists("k"));
    EXPECT_THAT(bench.events.losses, SizeIs(1));
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::worker_lost);
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, EndsAWorkerThatClosesItsConnection) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("closes_socket");
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_THAT(error.message(), HasSubstr("closed its connection"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, SaysThatACallNeverReachedAWorkerThatHadLeft) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("leaves_after_result");
    const std::string socket = fmt::format("/proc/{}/fd/3", worker->describe().at("pid").as_int64());
    EXPECT_EQ(co_await bench.call(*worker, "any"), Json(1));
    std::error_code gone;
    while (std::filesystem::is_symlink(std::filesystem::symlink_status(socket, gone))) {
    }  // without a turn of the loop, in which the worker would be found out
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_TRUE(session::is_unreached(error));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessAppTest, LosesItsWorkersWithTheSupervisorAndStartsAnother) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const pid_t first = bench.supervisor->pid();
    ::kill(first, SIGKILL);
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    EXPECT_EQ(bench.events.losses.at(0).code(), ErrorCode::worker_lost);
    co_await bench.close(*worker);
    auto second = co_await bench.open("app");
    EXPECT_NE(bench.supervisor->pid(), first);
    EXPECT_EQ(co_await bench.call(*second, "echo", 1), Json(1));
    co_await bench.close(*second);
  });
}

TEST_F(ProcessAppTest, ServesManySessionsAtOnce) {
  run([](Bench& bench) -> Async<void> {
    std::vector<std::unique_ptr<session::Worker>> workers;
    for (int i = 0; i < 8; ++i) workers.push_back(co_await bench.open("app"));
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(co_await bench.call(*workers[static_cast<std::size_t>(i)], "echo", i), Json(i));
    for (auto& worker : workers) co_await bench.close(*worker);
  });
}

}  // namespace

}  // namespace sojourn::worker
