#include "sojourn/steps/step_runner.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <sstream>

#include "sojourn/base/error.hpp"
#include "sojourn/steps/detection.hpp"
#include "sojourn/steps/example_test.hpp"

namespace sojourn::steps {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Steps : public testing::Test {
 protected:
  StepRunner& runner() {
    if (!runner_) {
      runner_ = std::make_unique<StepRunner>(
          [this] {
            auto algorithm = std::make_unique<ScriptedAlgorithm>(script);
            made = algorithm.get();
            return algorithm;
          },
          recorder, clock);
    }
    return *runner_;
  }

  // What an algorithm answers to execute of the first step.
  Outcome judged(Result answer) {
    runner();
    made->answer = std::move(answer);
    return runner().execute(session, {.step_index = 1, .pid = "A01"});
  }

  std::vector<std::string> calls() { return std::exchange(script.log, {}); }

  Script script;
  ScriptedAlgorithm* made = nullptr;  // the one that was made last
  session::Session session{"s-1", {{"trace_id", "t-9"}, {"product_code", "X"}}};
  KeepingRecorder recorder;
  ManualClock clock;
  std::unique_ptr<StepRunner> runner_;
};

TEST_F(Steps, CallsEachHookOnceInTheDocumentedOrder) {
  runner().run_step(session, {.step_index = 1, .pid = "A01"});
  runner().run_step(session, {.step_index = 2, .pid = "A01"});
  runner().reset(session);
  runner().close();
  runner_.reset();
  EXPECT_THAT(calls(),
              ElementsAre("setup", "on_step_start 1", "pre_execute 1", "execute 1", "on_step_finish 1",
                          "on_step_start 2", "pre_execute 2", "execute 2", "on_step_finish 2", "reset", "teardown"));
}

TEST_F(Steps, AStepInTwoCallsHasItsHooksAroundBoth) {
  runner();
  calls();
  runner().pre_execute(session, {.step_index = 1, .pid = "A01"});
  runner().pre_execute(session, {.step_index = 1, .pid = "A01"});
  runner().execute(session, {.step_index = 1, .pid = "A01"});
  EXPECT_THAT(calls(),
              ElementsAre("on_step_start 1", "pre_execute 1", "pre_execute 1", "execute 1", "on_step_finish 1"));
  runner().execute(session, {.step_index = 1, .pid = "A01"});
  EXPECT_THAT(calls(), ElementsAre("on_step_start 1", "execute 1", "on_step_finish 1"));
}

TEST_F(Steps, HooksOfInfoSetupAndResetAreNotCalled) {
  runner().reset(session);
  EXPECT_EQ(runner().info().name, "scripted");
  EXPECT_THAT(calls(), ElementsAre("setup", "reset"));
}

TEST_F(Steps, AKeySetInPreExecuteIsThereInExecuteAndInLaterSteps) {
  runner().pre_execute(session, {.step_index = 1, .pid = "A01"});
  EXPECT_EQ(session.get("prepared"), Json(1));
  runner().execute(session, {.step_index = 1, .pid = "A01"});
  runner().run_step(session, {.step_index = 2, .pid = "A01"});
  EXPECT_TRUE(session.exists("step 1"));
  EXPECT_TRUE(session.exists("step 2"));
}

TEST_F(Steps, ResetClearsTheState) {
  runner().run_step(session, {.step_index = 1, .pid = "A01"});
  runner().reset(session);
  EXPECT_EQ(session.state().size(), 0u);
  EXPECT_FALSE(session.state().has_changes());
}

TEST_F(Steps, TheContextOfAStepIsThePidAndTheTraceId) {
  runner().execute(session, {.step_index = 1, .pid = "A02"});
  EXPECT_EQ(*session.get("started"), Json(JsonObject{{"pid", "A02"}, {"trace_id", "t-9"}}));
  session::Session plain("s-2");
  runner().execute(plain, {.step_index = 1, .pid = "A02"});
  EXPECT_EQ(plain.get("started")->at("trace_id"), Json("s-2"));
}

TEST_F(Steps, CountFromOne) {
  for (const int index : {0, -1, 3}) {
    const Outcome outcome = runner().execute(session, {.step_index = index, .pid = "A01"});
    EXPECT_EQ(outcome.result.error_code, "1014");
    EXPECT_THAT(outcome.result.message, HasSubstr("scripted has the steps 1 to 2"));
  }
}

TEST_F(Steps, WhatIsRefusedBeforeCallsNothing) {
  runner();
  calls();
  EXPECT_EQ(runner().execute(session, {.step_index = 1, .pid = "B"}).result.error_code, "1001");
  const Outcome refused = runner().run_step(session, {.step_index = 2, .pid = "A01", .user_params = {{"limit", 10}}});
  EXPECT_EQ(refused.result.error_code, "1006");
  EXPECT_THAT(refused.result.message, HasSubstr("user_params.limit: is 10; at most 9"));
  EXPECT_THAT(calls(), IsEmpty());
  EXPECT_THAT(recorder.records, IsEmpty());
}

TEST_F(Steps, ParametersArriveWithTheirDefaults) {
  runner().execute(session, {.step_index = 2, .pid = "A01"});
  EXPECT_EQ(session.get("step 2"), Json(JsonObject{{"limit", 3}}));
}

TEST_F(Steps, AnotherStepIsRefusedWhileOneIsOpen) {
  runner().pre_execute(session, {.step_index = 1, .pid = "A01"});
  const Outcome refused = runner().execute(session, {.step_index = 2, .pid = "A01"});
  EXPECT_EQ(refused.result.error_code, "1014");
  EXPECT_THAT(refused.result.message, HasSubstr("while step 1 is open"));
  runner().reset(session);
  EXPECT_TRUE(runner().execute(session, {.step_index = 2, .pid = "A01"}).result.ok);
}

TEST_F(Steps, KeepTheCodeThatTheAlgorithmThrew) {
  script.error = StepError(StepCode::image_load_failed, "too dark");
  for (const std::string phase : {"pre_execute", "execute"}) {
    script.throws = phase;
    const Outcome outcome = runner().run_step(session, {.step_index = 1, .pid = "A01"});
    EXPECT_FALSE(outcome.result.ok);
    EXPECT_EQ(outcome.result.error_code, "1002");
    EXPECT_EQ(outcome.result.message, "too dark");
    EXPECT_FALSE(outcome.result.is_fatal());
  }
  EXPECT_THAT(calls(), ElementsAre("setup", "on_step_start 1", "pre_execute 1", "on_step_finish failed 1",
                                   "on_step_start 1", "pre_execute 1", "execute 1", "on_step_finish failed 1"));
}

TEST_F(Steps, KeepTheCodeThatTheAlgorithmAnswered) {
  const Outcome outcome =
      judged({.ok = false, .message = "lamp 3 is out", .error_code = "E42", .data = {{"lamp", 3}}});
  EXPECT_EQ(to_text(outcome.to_json()),
            R"({"status":"ERROR","message":"lamp 3 is out","error_code":"E42","data":{"lamp":3},"step_index":1,)"
            R"("latency_us":0})");
}

TEST_F(Steps, AFailedStepChangesNothing) {
  runner().run_step(session, {.step_index = 1, .pid = "A01"});
  const JsonObject before = session.state().to_json();
  script.throws = "execute 2";
  EXPECT_FALSE(runner().run_step(session, {.step_index = 2, .pid = "A01"}).result.ok);
  EXPECT_EQ(session.state().to_json(), before);
}

TEST_F(Steps, AFatalErrorEndsTheInstanceAndTheNextCallSetsUpAnother) {
  script.error = StepError(StepCode::gpu_oom, "out of memory");
  script.throws = "execute";
  const Outcome failed = runner().execute(session, {.step_index = 1, .pid = "A01"});
  EXPECT_TRUE(failed.result.is_fatal());
  EXPECT_THAT(calls(), ElementsAre("setup", "on_step_start 1", "execute 1", "on_step_finish failed 1", "teardown"));
  EXPECT_TRUE(runner().execute(session, {.step_index = 1, .pid = "A01"}).result.ok);
  EXPECT_THAT(calls(), ElementsAre("setup", "on_step_start 1", "execute 1", "on_step_finish 1"));
  EXPECT_EQ(script.made, 2);
}

TEST_F(Steps, AHookThatThrowsFailsTheStepByItsName) {
  for (const std::string hook : {"on_step_start", "on_step_finish"}) {
    script.throws = hook;
    script.error = StepError(StepCode::hook_failed, "no disk");
    const Outcome outcome = runner().run_step(session, {.step_index = 1, .pid = "A01"});
    EXPECT_EQ(outcome.result.error_code, "1015");
    EXPECT_EQ(outcome.result.message, hook + ": no disk");
    EXPECT_EQ(session.state().size(), 0u);
  }
  EXPECT_THAT(calls(), ElementsAre("setup", "on_step_start 1", "on_step_start 1", "pre_execute 1", "execute 1",
                                   "on_step_finish 1"));
}

TEST_F(Steps, AHookThatThrowsAfterAStepThatFailedIsLogged) {
  script.throws = "execute 1";
  script.then_throws = "on_step_finish failed 1";
  EXPECT_EQ(runner().execute(session, {.step_index = 1, .pid = "A01"}).result.message, "no luck");
  ASSERT_EQ(recorder.lines.size(), 1u);
  EXPECT_EQ(to_text(recorder.lines[0]),
            R"({"session_id":"s-1","step_index":1,"trace_id":"t-9","message":"on_step_finish: no luck"})");
}

TEST_F(Steps, AResetThatThrowsLeavesTheStateAsItWas) {
  runner().run_step(session, {.step_index = 1, .pid = "A01"});
  const JsonObject before = session.state().to_json();
  script.throws = "reset";
  EXPECT_THROW(runner().reset(session), StepError);
  EXPECT_EQ(session.state().to_json(), before);
}

TEST_F(Steps, ASetupThatThrowsIsToldByItsName) {
  script.throws = "setup";
  script.error = StepError(StepCode::model_not_found, "no model.onnx");
  try {
    runner();
    FAIL();
  } catch (const StepError& error) {
    EXPECT_EQ(error.code(), StepCode::model_not_found);
    EXPECT_EQ(error.message(), "setup: no model.onnx");
  }
}

TEST_F(Steps, AnAlgorithmThatCannotBeMadeAnewAfterAFatalErrorIsAStepError) {
  script.error = StepError(StepCode::fatal, "the lamp burst");
  script.throws = "execute";
  runner().execute(session, {.step_index = 1, .pid = "A01"});
  script.throws = "get_info";
  EXPECT_EQ(detect(runner(), session, {.pid = "A01"}).at("message"), Json("get_info: no camera"));
}

TEST_F(Steps, AnErrorsMessageIsTextWhateverItsBytes) {
  script.error = StepError(StepCode::timeout, "camera \xff");
  script.throws = "execute";
  EXPECT_EQ(runner().execute(session, {.step_index = 1, .pid = "A01"}).result.message, "camera \uFFFD");
}

TEST_F(Steps, ALongMessageIsCutInTheRecordOnly) {
  const std::string message(1'000'000, 'x');
  EXPECT_EQ(judged(Result::error(StepCode::timeout, message)).result.message, message);
  EXPECT_EQ(recorder.records.at(0).at("message").as_string().size(), 4096u);
}

TEST_F(Steps, AFailureHasTheDataOfThePartThatFailedOnly) {
  runner();
  made->answer = {.ok = false, .message = "lamp 3 is out", .error_code = "E42", .data = {{"lamp", 3}}};
  const Outcome outcome = runner().run_step(session, {.step_index = 1, .pid = "A01"});
  EXPECT_EQ(outcome.result.data, (JsonObject{{"lamp", 3}}));
}

TEST(Logger, SaysWhyAFieldIsLeftOut) {
  KeepingRecorder recorder;
  Logger logger;
  logger.bind(&recorder, {});
  logger.info("mean \xff", {{"mean", std::nan("")}, {"n", 1}, {"text", std::string(100'000, 'x')}});
  const JsonObject& line = recorder.lines.at(0);
  EXPECT_NO_THROW(to_text(line));
  EXPECT_EQ(line.at("n"), Json(1));
  EXPECT_EQ(line.at("message"), Json("mean \uFFFD"));
  EXPECT_THAT(std::string(line.at("mean").as_string()), HasSubstr("left out"));
  EXPECT_THAT(std::string(line.at("text").as_string()), HasSubstr("left out"));
}

TEST_F(Steps, AResultThatBreaksItsContractIsAnErrorThatNamesTheField) {
  const Outcome outcome = judged(Result::not_good("bent", {{.x = 1, .y = 1, .width = 0, .height = 1}}));
  EXPECT_EQ(outcome.result.error_code, "1013");
  EXPECT_EQ(outcome.result.message, "data.defect_rects[0].width: must be a whole number, at least 1");
  const Outcome oversized = judged(Result::good({{"blob", std::string(5'000'000, 'x')}}));
  EXPECT_EQ(oversized.result.error_code, "1017");
  const Outcome infinite = judged(Result::good({{"mean", JsonArray{1, std::nan("")}}}));
  EXPECT_THAT(infinite.result.message, HasSubstr("/mean/1"));
}

TEST_F(Steps, AnAlgorithmCannotReplaceTheStepIndex) {
  const JsonObject json = judged(Result::good({{"step_index", 7}})).to_json();
  EXPECT_EQ(json.at("step_index"), Json(1));
}

TEST_F(Steps, ABadProductIsACallThatWorked) {
  const Outcome outcome =
      judged(Result::not_good("scratched", {{.x = 1, .y = 2, .width = 3, .height = 4, .label = "s", .score = 0.5}}));
  EXPECT_TRUE(outcome.result.ok);
  EXPECT_FALSE(outcome.result.is_good());
  EXPECT_EQ(to_text(outcome.result.data),
            R"({"result_status":"NG","ng_reason":"scratched","defect_rects":[{"x":1,"y":2,"width":3,"height":4,)"
            R"("label":"s","score":0.5}]})");
}

TEST_F(Steps, LogLinesHaveTheIdsOfSessionStepAndTraceWhateverTheFields) {
  runner().execute(session, {.step_index = 2, .pid = "A01"});
  ASSERT_EQ(recorder.lines.size(), 1u);
  EXPECT_EQ(to_text(recorder.lines[0]),
            R"({"step_index":2,"n":1,"session_id":"s-1","trace_id":"t-9","message":"judged"})");
}

TEST_F(Steps, EachStepIsRecordedWithWhatItPublished) {
  runner().run_step(session, {.step_index = 2, .pid = "A01"});
  script.throws = "execute";
  runner().run_step(session, {.step_index = 1, .pid = "A01"});
  ASSERT_EQ(recorder.records.size(), 2u);
  EXPECT_EQ(
      to_text(recorder.records[0]),
      R"({"session_id":"s-1","step_index":2,"trace_id":"t-9","status":"OK","latency_us":0,"result_status":"OK",)"
      R"("diagnostics":{"limit":{"limit":3}}})");
  EXPECT_EQ(to_text(recorder.records[1]),
            R"({"session_id":"s-1","step_index":1,"trace_id":"t-9","status":"ERROR","latency_us":0,)"
            R"("error_code":"1009","message":"no luck"})");
}

TEST(Diagnostics, KeepWhatTheyHaveWhereAValueIsRefused) {
  Diagnostics diagnostics;
  diagnostics.publish("mean", 1.5);
  EXPECT_THROW(diagnostics.publish("mean", std::nan("")), Error);
  EXPECT_THROW(diagnostics.publish("text", Json(std::string(Diagnostics::most_bytes, 'x'))), Error);
  EXPECT_EQ(diagnostics.get(), (JsonObject{{"mean", 1.5}}));
}

TEST(LineRecorder, WritesOneLineOfJsonAndNeverFails) {
  std::ostringstream stream;
  LineRecorder recorder(stream);
  recorder.log(LogLevel::info, "ready", {{"n", 1}});
  recorder.log(LogLevel::info, "bad", {{"n", std::nan("")}});
  recorder.step_finished({{"step_index", 1}});
  EXPECT_THAT(stream.str(), HasSubstr("{\"n\":1,\"level\":\"info\",\"message\":\"ready\"}\n"));
  EXPECT_THAT(stream.str(), HasSubstr("a line was left out"));
  EXPECT_THAT(stream.str(), HasSubstr("{\"step_index\":1,\"event\":\"algorithm.step\"}\n"));
}

// Seed 000's example: the time of a step by a key that one hook sets and another reads.
class Stopwatch final : public Algorithm {
 public:
  explicit Stopwatch(ManualClock& clock) : clock_(clock) {}

  void on_step_start(int, session::Session& session, const JsonObject&) override {
    session.set("step_start_ms", milliseconds());
  }
  void on_step_finish(int, session::Session& session, const Result&) override {
    const Json start = session.get("step_start_ms", nullptr);
    diagnostics.publish("latency_ms", milliseconds() - start.as_int64());
  }
  void reset(session::Session& session) override { session.remove("step_start_ms"); }

  Info get_info() const override { return {.name = "stopwatch", .version = "1", .steps = {{.name = "shot"}}}; }
  Result execute(const Shot&, session::Session&) override {
    clock_.advance(Milliseconds(12));
    return Result::good();
  }

 private:
  std::int64_t milliseconds() const {
    return std::chrono::duration_cast<Milliseconds>(clock_.now().time_since_epoch()).count();
  }

  ManualClock& clock_;
};

TEST(SeedExample, MeasuresTheLatencyOfAStepByStepStartMs) {
  ManualClock clock;
  KeepingRecorder recorder;
  session::Session session("session-20240425-000123", {{"product_code", "A01"}});
  StepRunner runner([&] { return std::make_unique<Stopwatch>(clock); }, recorder, clock);
  const Outcome outcome = runner.run_step(session, {});
  EXPECT_EQ(outcome.latency, Milliseconds(12));
  EXPECT_EQ(recorder.records.at(0).at("diagnostics"), Json(JsonObject{{"latency_ms", 12}}));
  EXPECT_TRUE(session.exists("step_start_ms"));
  runner.reset(session);
  EXPECT_FALSE(session.exists("step_start_ms"));
}

class WholeDetection : public Steps {
 protected:
  JsonObject run(DetectionInput input = {.pid = "A01"}) { return detect(runner(), session, std::move(input)); }
};

TEST_F(WholeDetection, RunsAllStepsFromAnEmptyState) {
  session.set("of an earlier detection", 1);
  const JsonObject outcome = run({.pid = "A01", .steps = {{}, {.user_params = {{"limit", 5}}}}});
  EXPECT_EQ(outcome.at("status"), Json("OK"));
  EXPECT_EQ(outcome.at("result_status"), Json("OK"));
  EXPECT_EQ(outcome.at("steps").as_array().size(), 2u);
  EXPECT_EQ(session.get("step 2"), Json(JsonObject{{"limit", 5}}));
  EXPECT_FALSE(session.exists("of an earlier detection"));
}

TEST_F(WholeDetection, IsNotGoodAsSoonAsOneStepSaysSo) {
  runner();
  made->answer = Result::not_good("bent", {});
  const JsonObject outcome = run();
  EXPECT_EQ(outcome.at("status"), Json("OK"));
  EXPECT_EQ(outcome.at("result_status"), Json("NG"));
  EXPECT_EQ(outcome.at("ng_reason"), Json("bent"));
}

TEST_F(WholeDetection, EndsAtTheStepThatFails) {
  script.throws = "execute 1";
  const JsonObject outcome = run();
  EXPECT_EQ(outcome.at("status"), Json("ERROR"));
  EXPECT_EQ(outcome.at("error_code"), Json("1009"));
  EXPECT_EQ(outcome.at("step_index"), Json(1));
  EXPECT_EQ(outcome.at("steps").as_array().size(), 1u);
  EXPECT_FALSE(outcome.contains("result_status"));
}

TEST_F(WholeDetection, GoesOnBehindTheLastStepThatWorked) {
  script.resumable = true;
  script.throws = "execute 2";
  run();
  calls();
  const JsonObject outcome = run({.pid = "A01", .resume = true});
  EXPECT_THAT(calls(), ElementsAre("on_step_start 2", "pre_execute 2", "execute 2", "on_step_finish 2"));
  EXPECT_EQ(outcome.at("status"), Json("OK"));
  EXPECT_EQ(outcome.at("steps").as_array().size(), 2u);
  EXPECT_EQ(run({.pid = "A01", .resume = true}), outcome);  // it is done: nothing runs
  EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(WholeDetection, RefusesWhatItCannotResume) {
  EXPECT_THAT(std::string(run({.pid = "A01", .resume = true}).at("message").as_string()),
              HasSubstr("scripted is not resumable"));
  script.resumable = true;
  runner_.reset();
  EXPECT_THAT(std::string(run({.pid = "A01", .resume = true}).at("message").as_string()),
              HasSubstr("no detection was begun"));
  run();
  EXPECT_THAT(std::string(run({.pid = "A02", .resume = true}).at("message").as_string()), HasSubstr("another pid"));
}

// Another version may have left them, or who may write into the state.
TEST_F(WholeDetection, ResumesNoOutcomesThatDoNotFit) {
  script.resumable = true;
  const Json good = JsonObject{{"latency_us", 1}, {"data", {{"result_status", "OK"}}}};
  const JsonObject bad_reason{{"latency_us", 1}, {"data", {{"result_status", "NG"}}}};
  for (const Json& steps : {Json(JsonArray{good, good, good}), Json(JsonArray{5}), Json(JsonArray{JsonObject{}}),
                            Json(JsonArray{bad_reason}), Json(nullptr)}) {
    session.set(Detection::state_key, JsonObject{{"pid", "A01"}, {"steps", steps}});
    EXPECT_THAT(std::string(run({.pid = "A01", .resume = true}).at("message").as_string()),
                HasSubstr("does not fit"));
  }
  session.set(Detection::state_key, JsonObject{});
  EXPECT_THAT(std::string(run({.pid = "A01", .resume = true}).at("message").as_string()), HasSubstr("another pid"));
}

TEST_F(WholeDetection, FailsAtTheStepWhoseAnswerCannotBeKept) {
  runner();
  made->answer = Result::good({{"blob", std::string(3'000'000, 'x')}});
  const JsonObject outcome = run();
  EXPECT_EQ(outcome.at("error_code"), Json("1017"));
  EXPECT_EQ(outcome.at("step_index"), Json(2));
  EXPECT_THAT(std::string(outcome.at("message").as_string()), HasSubstr("what the steps answered: "));
}

TEST_F(WholeDetection, RefusesMoreStepsThanThereAre) {
  const JsonObject outcome = run({.pid = "A01", .steps = {{}, {}, {}}});
  EXPECT_EQ(outcome.at("error_code"), Json("1014"));
  EXPECT_EQ(outcome.at("steps"), Json(JsonArray()));
}

}  // namespace

}  // namespace sojourn::steps
