#include "sojourn/steps/app.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/steps/example_test.hpp"

// An algorithm as an app, without a server: what its calls say to their scope, in which order.
namespace sojourn::steps {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Notes everything a call and its worker say.
class Scope final : public session::CallScope, public session::WorkerEvents {
 public:
  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json) override { said.emplace_back("emit"); }
  void emit_delta(Json) override {}
  void log(LogLevel, std::string_view message, JsonObject) override { said.emplace_back(message); }
  void record(std::string type, JsonObject data) override {
    if (refuses_records) throw Error(ErrorCode::too_large, "no room");
    said.push_back(type + " " + to_text(data.at("step_index")));
  }
  Async<void> checkpoint() override {
    said.emplace_back("checkpoint");
    session_.state().accept();
    cancelled = cancel_at_checkpoint;
    co_return;
  }
  void end_session() override {}
  Async<Json> call_app(std::string, std::string, Json) override { co_return nullptr; }
  bool cancel_requested() const override { return cancelled; }
  Async<void> cancel_wait() override { co_return; }

  void log(LogLevel, std::string_view stream, std::string_view message, JsonObject) override {
    said.push_back(std::string(stream) + ": " + std::string(message));
  }
  void resource_added(session::ResourceNote resource) override {
    said.push_back("holds " + to_text(resource.cleanup));
    resource.recorded->set(true);
  }
  void resource_released(std::string_view id) override { said.push_back("released " + std::string(id)); }
  void lost(Error) override {}

  std::vector<std::string> said;
  session::CallRequest request_;
  session::Session session_{"s-1"};
  bool cancelled = false;
  bool cancel_at_checkpoint = false;
  bool refuses_records = false;
};

class Served : public testing::Test {
 protected:
  // Opens a worker, makes the call, and closes the worker; what goes wrong is in `error`.
  Json call(std::string function, Json input) { return calls({{std::move(function), std::move(input)}}); }

  // The same with more than one call; the last one's output.
  Json calls(std::vector<std::pair<std::string, Json>> calls) {
    Json output;
    error.reset();
    loop.run(run(*this, std::move(calls), output));
    return output;
  }

  std::string message() const { return error ? error->message() : "it worked"; }

  Loop loop;
  Script script;
  Scope scope;
  std::optional<Error> error;

 private:
  static Async<void> run(Served& test, std::vector<std::pair<std::string, Json>> calls, Json& output) {
    const auto app = steps::app([&test] { return std::make_unique<ScriptedAlgorithm>(test.script); });
    const Instant deadline = Instant::max();
    try {
      const auto worker = co_await app->open({.session_id = "s-1", .events = &test.scope}, deadline);
      std::exception_ptr failure;
      try {
        for (auto& [function, input] : calls) {
          test.scope.request_ = {.task_id = "t", .function = std::move(function), .input = std::move(input)};
          output = co_await worker->call(test.scope);
        }
      } catch (...) {
        failure = std::current_exception();
      }
      co_await worker->close(session::CloseReason::ended, deadline);
      if (failure) std::rethrow_exception(failure);
    } catch (...) {
      test.error = to_error(std::current_exception());
    }
  }
};

TEST_F(Served, TellsItsNameVersionAndFunctions) {
  const auto app = steps::app([this] { return std::make_unique<ScriptedAlgorithm>(script); });
  EXPECT_EQ(app->info().name, "scripted");
  EXPECT_EQ(app->info().version, "1.2.0");
  EXPECT_THAT(app->info().functions, ElementsAre("info", "pre_execute", "execute", "reset", "detect"));
  EXPECT_TRUE(app->info().recover);
}

TEST_F(Served, DetectMakesEachStepDurableBehindWhatItSaid) {
  const Json output = call("detect", {{"pid", "A01"}});
  EXPECT_EQ(output.at("result_status"), Json("OK")) << message();
  EXPECT_THAT(scope.said,
              ElementsAre("judged", "algorithm.step 1", "checkpoint", "emit", "judged", "algorithm.step 2"));
}

TEST_F(Served, AStepThatFailsFailsItsCallWithItsCode) {
  script.throws = "execute 2";
  script.error = StepError(StepCode::gpu_oom, "out of memory");
  call("detect", {{"pid", "A01"}});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::app_error);
  EXPECT_EQ(error->message(), "out of memory");
  EXPECT_EQ(to_text(error->details()),
            R"({"error_code":"1004","recoverable":false,"error":"gpu_oom","step_index":2})");
}

TEST_F(Served, ADetectionIsCancelledBetweenItsSteps) {
  scope.cancel_at_checkpoint = true;
  call("detect", {{"pid", "A01"}});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::cancelled);
  EXPECT_THAT(script.log, testing::Not(testing::Contains("on_step_start 2")));
}

TEST_F(Served, ARecordThatIsRefusedEndsNothing) {
  scope.refuses_records = true;
  EXPECT_NO_THROW(call("execute", {{"step_index", 1}, {"pid", "A01"}}));
  EXPECT_FALSE(error) << message();
  EXPECT_THAT(scope.said, ElementsAre("judged", "the record of a step was refused: no room"));
}

TEST_F(Served, ASetupThatThrowsFailsTheOpening) {
  script.throws = "setup";
  call("info", nullptr);
  EXPECT_EQ(message(), "setup: no luck");
}

TEST_F(Served, ATeardownThatThrowsIsTold) {
  script.throws = "teardown";
  call("info", nullptr);
  EXPECT_EQ(message(), "teardown: no luck");
}

TEST_F(Served, AnImageIsTheSessionsFromBeforeTheStepUntilItsEnd) {
  const SharedImage image = SharedImage::create({.width = 2, .height = 2});
  call("execute", {{"step_index", 1}, {"pid", "A01"}, {"shared_mem_id", image.id()}});
  EXPECT_THAT(scope.said, ElementsAre("holds {\"shm\":\"/" + image.id() + "\"}", "judged", "algorithm.step 1",
                                      "released " + image.id()))
      << message();
  EXPECT_FALSE(SharedImage::remove(image.id()));
}

TEST_F(Served, AnotherDetectionMayBeOnThePicturesOfTheLast) {
  const SharedImage image = SharedImage::create({.width = 2, .height = 2});
  const SharedImage other = SharedImage::create({.width = 2, .height = 2});
  const auto detection = [](const SharedImage& of) {
    return Json{{"pid", "A01"}, {"steps", JsonArray{JsonObject{{"shared_mem_id", of.id()}}}}};
  };
  calls({{"detect", detection(image)}, {"detect", detection(image)}, {"detect", detection(other)}});
  EXPECT_FALSE(error) << message();
  const std::string holds = "holds {\"shm\":\"/" + image.id() + "\"}";
  EXPECT_EQ(std::ranges::count(scope.said, holds), 1);
  const auto released = std::ranges::find(scope.said, "released " + image.id());
  EXPECT_LT(std::ranges::find(scope.said, "holds {\"shm\":\"/" + other.id() + "\"}"), released);
  EXPECT_NE(released, scope.said.end());
}

TEST_F(Served, APictureThatWasFreedEarlyFailsItsStepAndNothingElse) {
  script.looks = true;
  const SharedImage image = SharedImage::create({.width = 2, .height = 2});
  const Json step{{"step_index", 1}, {"pid", "A01"}, {"shared_mem_id", image.id()}, {"image_meta", image.describe()}};
  calls({{"execute", step}});
  EXPECT_FALSE(error) << message();
  call("execute", step);  // the worker before has released it
  ASSERT_TRUE(error);
  EXPECT_EQ(error->details().at("error"), Json("image_not_found"));
  const SharedImage another = SharedImage::create({.width = 2, .height = 2});
  call("execute",
       {{"step_index", 1}, {"pid", "A01"}, {"shared_mem_id", another.id()}, {"image_meta", another.describe()}});
  EXPECT_FALSE(error) << message();
}

TEST_F(Served, AnIdThatIsNoImagesIsLeftAlone) {
  call("execute", {{"step_index", 1}, {"pid", "A01"}, {"shared_mem_id", "dev-shm:s-1"}});
  EXPECT_THAT(scope.said, ElementsAre("judged", "algorithm.step 1"));
}

TEST_F(Served, RefusesInputOfTheWrongShapeByTheNameOfTheField) {
  for (const std::string function : {"pre_execute", "execute", "detect"}) {
    call(function, {{"user_parms", JsonObject{}}});
    ASSERT_TRUE(error) << function;
    EXPECT_EQ(error->code(), ErrorCode::invalid_request);
    EXPECT_THAT(message(), HasSubstr("input.user_parms: is not known"));
  }
}

}  // namespace

}  // namespace sojourn::steps
