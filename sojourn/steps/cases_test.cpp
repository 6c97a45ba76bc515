#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "sojourn/base/error.hpp"
#include "sojourn/steps/example_test.hpp"
#include "sojourn/steps/step_input.hpp"
#include "sojourn/steps/step_runner.hpp"

// What is the same in every language, from the one file that holds it.
namespace sojourn::steps {

namespace {

using testing::HasSubstr;
using testing::StartsWith;

JsonObject read_file(const std::string& name) {
  std::ifstream file(std::string(SOJOURN_SDK) + "/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return parse_json_object(text.str());
}

const JsonArray& cases(std::string_view list) {
  static const JsonObject all = read_file("steps_cases.json");
  return all.at(list).as_array();
}

std::string text_at(const JsonObject& object, std::string_view key) {
  const Json* value = object.if_contains(key);
  return value == nullptr ? "" : std::string(value->as_string());
}

// Runs a case: what it does is taken or refused as the case says.
template <class F>
void expect(const JsonObject& one, StepCode code, F work) {
  SCOPED_TRACE(to_text(one));
  const std::string refused = text_at(one, "refused");
  try {
    work();
    EXPECT_EQ(refused, "") << "was taken";
  } catch (const StepError& error) {
    EXPECT_NE(refused, "") << "was refused: " << error.message();
    EXPECT_EQ(error.code(), one.contains("code") ? find_step_code(text_at(one, "code")) : code);
    EXPECT_THAT(error.message(), StartsWith(refused + ":"));
    EXPECT_THAT(error.message(), HasSubstr(text_at(one, "words")));
  }
}

TEST(SharedCases, HoldTheOneTableOfErrorCodes) {
  JsonArray table;
  for (int number = 1000; number < 10'000; ++number) {
    const auto code = find_step_code(std::to_string(number));
    if (!code) continue;
    EXPECT_EQ(find_step_code(info(*code).name), code);
    EXPECT_FALSE(info(*code).advice.empty());
    table.push_back({info(*code).number, info(*code).name, info(*code).fatal ? "fatal" : "recoverable"});
  }
  EXPECT_EQ(table, cases("codes"));
}

TEST(SharedCases, ParametersAreCheckedBeforeTheAlgorithmRuns) {
  std::vector<Parameter> declared;
  for (const Json& one : cases("declared")) declared.push_back(Parameter::from_json(one.as_object(), "declared"));
  for (const Json& value : cases("params")) {
    const JsonObject& one = value.as_object();
    expect(one, StepCode::invalid_params, [&] {
      EXPECT_EQ(to_text(checked(declared, one.at("given").as_object())),
                one.contains("taken") ? to_text(one.at("taken")) : "");
    });
  }
}

TEST(SharedCases, GetInfoIsHeldToItsShape) {
  for (const Json& value : cases("info")) {
    const JsonObject& one = value.as_object();
    expect(one, StepCode::invalid_result, [&] {
      const Info info = Info::from_json(one.at("given").as_object());
      EXPECT_EQ(Info::from_json(info.to_json()).to_json(), info.to_json());
    });
  }
}

TEST(SharedCases, ResultsAreCheckedOnBothLevels) {
  for (const Json& value : cases("results")) {
    const JsonObject& one = value.as_object();
    JsonObject given = one.at("given").as_object();
    if (const Json* count = one.if_contains("rects")) {
      given["data"].as_object()["defect_rects"] =
          to_json(std::vector<Rect>(count->to_number<std::size_t>(), {.width = 1, .height = 1}));
    }
    expect(one, StepCode::invalid_result, [&] {
      const Result result = Result::from_json(given);
      check(result, one.at("phase") == Json("execute") ? Phase::execute : Phase::pre_execute);
      EXPECT_EQ(Result::from_json(result.to_json()).to_json(), result.to_json());
    });
  }
}

TEST(SharedCases, AnImageMetaIsTakenWholeOrRefusedByTheField) {
  for (const Json& value : cases("image_meta")) {
    const JsonObject& one = value.as_object();
    expect(one, StepCode::image_load_failed, [&] {
      EXPECT_EQ(to_text(ImageMeta::from_json(one.at("given").as_object()).to_json()), to_text(one.at("taken")));
    });
  }
}

TEST(SharedCases, InputIsTakenOrRefusedByTheField) {
  for (const Json& value : cases("input")) {
    const JsonObject& one = value.as_object();
    SCOPED_TRACE(to_text(one));
    const std::string refused = text_at(one, "refused");
    try {
      if (one.at("function") == Json("detect")) {
        detection_input(one.at("given"));
      } else {
        step_input(one.at("given"));
      }
      EXPECT_EQ(refused, "") << "was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_request);
      EXPECT_THAT(error.message(), StartsWith(refused + ":"));
      EXPECT_THAT(error.message(), HasSubstr(text_at(one, "words")));
    }
  }
}

// What a call of a run ("step 1", "reset") fails with; "" where it worked.
std::string failure_of(std::string_view call, StepRunner& runner, session::Session& session) {
  const std::size_t space = call.find(' ');
  const std::string_view name = call.substr(0, space);
  try {
    if (name == "reset") runner.reset(session);
    if (name == "close") runner.close();
  } catch (const StepError& error) {
    return std::string(info(error.code()).number);
  }
  if (space == std::string_view::npos) return "";
  const auto part = name == "step"      ? &StepRunner::run_step
                    : name == "execute" ? &StepRunner::execute
                                        : &StepRunner::pre_execute;
  return (runner.*part)(session, {.step_index = call.back() - '0', .pid = "A01"}).result.error_code;
}

TEST(SharedCases, RunsCallTheSameHooksInTheSameOrderWhateverFails) {
  for (const Json& value : cases("runs")) {
    const JsonObject& one = value.as_object();
    SCOPED_TRACE(to_text(one));
    Script script{.throws = text_at(one, "throws"), .then_throws = text_at(one, "then_throws")};
    if (one.contains("with")) script.error = StepError(*find_step_code(text_at(one, "with")), "no luck");
    KeepingRecorder recorder;
    ManualClock clock;
    session::Session session("s-1");
    StepRunner runner([&] { return std::make_unique<ScriptedAlgorithm>(script); }, recorder, clock);
    JsonArray codes;
    for (const Json& call : one.at("calls").as_array())
      codes.push_back(failure_of(call.as_string(), runner, session).c_str());
    EXPECT_EQ(codes, one.contains("codes") ? one.at("codes").as_array() : JsonArray(codes.size(), Json("")));
    EXPECT_EQ(JsonArray(script.log.begin(), script.log.end()), one.at("log").as_array());
    const std::vector<std::string> keys = session.state().keys();
    EXPECT_EQ(JsonArray(keys.begin(), keys.end()), one.at("keys").as_array());
  }
}

TEST(SharedCases, StateGivesBackEachValueAsItWasSet) {
  session::Session session("s");
  for (const Json& text : cases("state")) {
    session.set("value", parse_json(text.as_string()));
    EXPECT_EQ(to_text(*session.get("value")), std::string_view(text.as_string()));
  }
}

}  // namespace

}  // namespace sojourn::steps
