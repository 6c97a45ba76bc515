#include "sojourn/worker/process_app.hpp"

#include <gmock/gmock.h>

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

// An app that goes by Worker::cancel hears of it as one does that asks its scope.
TEST_F(ProcessAppTest, TellsTheAppInTheProcessOfACancel) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("until_told"));
    TaskGroup group(bench.loop.executor());
    group.spawn(cancel_when_running(*worker, scope));
    EXPECT_EQ((co_await error_of(worker->call(scope))).message(), "as told");
    co_await group.join();
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
