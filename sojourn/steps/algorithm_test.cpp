#include "sojourn/steps/algorithm.hpp"

#include <gmock/gmock.h>

#include "sojourn/steps/app.hpp"
#include "sojourn/steps/detection.hpp"
#include "sojourn/steps/example_test.hpp"

// The three ways to have an algorithm: a class that is made, an instance that is there, and static functions.
namespace sojourn::steps {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// What was called of the static functions, which no instance can keep.
std::vector<std::string>& heard() {
  static std::vector<std::string> calls;
  return calls;
}

struct OnlyWhatIsNeeded {
  static Info get_info() { return {.name = "level", .version = "1", .steps = {{.name = "look"}}}; }
  static Result execute(const Shot&, session::Session& session) {
    const std::int64_t before = session.get("seen", 0).as_int64();
    session.set("seen", before + 1);
    return Result::good({{"seen", before + 1}});
  }
};

struct AllOfThem : OnlyWhatIsNeeded {
  static void setup() { heard().emplace_back("setup"); }
  static void teardown() { heard().emplace_back("teardown"); }
  static void on_step_start(int, session::Session&, const JsonObject& context) {
    heard().push_back("on_step_start " + to_text(context));
  }
  static void on_step_finish(int, session::Session&, const Result& result) {
    heard().push_back("on_step_finish " + to_text(result.data));
  }
  static void reset(session::Session&) { heard().emplace_back("reset"); }
  static Result pre_execute(const Shot&, session::Session&) { return Result::done({{"where", "here"}}); }
};

class Uses : public testing::Test {
 protected:
  KeepingRecorder recorder;
  ManualClock clock;
  session::Session session{"s-1"};
};

TEST_F(Uses, StaticFunctionsKeepWhatTheyKnowInTheSession) {
  StepRunner runner(make_algorithm<OnlyWhatIsNeeded>, recorder, clock);
  runner.run_step(session, {});
  EXPECT_EQ(runner.run_step(session, {}).result.data.at("seen"), Json(2));
  session::Session other("s-2");
  EXPECT_EQ(runner.run_step(other, {}).result.data.at("seen"), Json(1));
}

TEST_F(Uses, StaticFunctionsThatAreThereAreCalledAsMethodsAre) {
  heard().clear();
  StepRunner runner(make_algorithm<AllOfThem>, recorder, clock);
  EXPECT_EQ(detect(runner, session, {.pid = "A"}).at("result_status"), Json("OK"));
  runner.close();
  EXPECT_THAT(heard(), ElementsAre("setup", "reset", R"(on_step_start {"pid":"A","trace_id":"s-1"})",
                                   R"(on_step_finish {"seen":1,"result_status":"OK","where":"here"})", "teardown"));
}

TEST_F(Uses, StaticFunctionsAreServedAsAClassIs) {
  const auto served = app<OnlyWhatIsNeeded>();
  EXPECT_EQ(served->info().name, "level");
}

TEST_F(Uses, AnInstanceThatIsThereMayBeLent) {
  Script script;
  ScriptedAlgorithm mine(script);
  {
    StepRunner runner(lent(mine), recorder, clock);
    EXPECT_TRUE(runner.run_step(session, {.step_index = 1, .pid = "A01"}).result.ok);
  }
  EXPECT_EQ(script.made, 1);
  EXPECT_THAT(script.log, testing::Contains("teardown"));
  recorder.lines.clear();
  mine.logger.info("after the runner");  // which has gone, with its recorder
  EXPECT_THAT(recorder.lines, testing::IsEmpty());
}

TEST_F(Uses, AnInstanceThatIsLentIsSetUpAgainAfterAFatalError) {
  Script script;
  ScriptedAlgorithm mine(script);
  StepRunner runner(lent(mine), recorder, clock);
  script.error = StepError(StepCode::fatal, "the lamp burst");
  script.throws = "execute";
  runner.execute(session, {.step_index = 1, .pid = "A01"});
  EXPECT_TRUE(runner.execute(session, {.step_index = 1, .pid = "A01"}).result.ok);
  EXPECT_EQ(std::ranges::count(script.log, "setup"), 2);
  EXPECT_EQ(script.made, 1);
}

TEST_F(Uses, AnInstanceServesOneRunnerAtATime) {
  Script script;
  ScriptedAlgorithm mine(script);
  const AlgorithmFactory factory = lent(mine);
  {
    const StepRunner runner(factory, recorder, clock);
    try {
      StepRunner(factory, recorder, clock);
      FAIL() << "it serves two";
    } catch (const StepError& error) {
      EXPECT_EQ(error.code(), StepCode::setup_failed);
      EXPECT_THAT(error.message(), HasSubstr("this instance serves another session"));
    }
  }
  EXPECT_NO_THROW(StepRunner(factory, recorder, clock));
}

}  // namespace

}  // namespace sojourn::steps
