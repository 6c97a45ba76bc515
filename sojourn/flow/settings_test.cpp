#include "sojourn/flow/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>
#include <map>

#include "sojourn/base/error.hpp"

namespace sojourn::flow {
namespace {

using testing::HasSubstr;

class FlowSettings : public testing::Test {
 protected:
  FlowSettings() {
    sources.environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = environment.find(name);
      return found == environment.end() ? std::nullopt : std::optional(found->second);
    };
    sources.file = file;
  }
  ~FlowSettings() override {
    std::filesystem::remove(file);
    clear_config();
    set_config(before);
  }

  void write(const char* text) const { std::ofstream(file) << text; }
  std::string refusal() const {
    try {
      resolve({}, sources);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::config_invalid);
      return error.message();
    }
    return "accepted";
  }

  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) /
                                     ("flow-" + std::to_string(::getpid()) +
                                      testing::UnitTest::GetInstance()->current_test_info()->name() + ".toml");
  const Settings before = config_sources().process;  // of the test program
  std::map<std::string, std::string> environment;
  ConfigSources sources;
};

TEST_F(FlowSettings, HasTheDefaultsOfTheSeed) {
  const Config config = resolve({}, sources);
  EXPECT_EQ(config.timeout, Seconds(150));
  EXPECT_FALSE(config.end_on_error);
  EXPECT_EQ(config.logging_setting, LoggingSetting::regular);
  EXPECT_EQ(config.log_file, std::nullopt);
  EXPECT_FALSE(config.broadcast_callback);
  EXPECT_EQ(config.run_identifier, std::nullopt);
  EXPECT_TRUE(config.prompt_injection);
  EXPECT_TRUE(config.save_state);
  EXPECT_TRUE(config.record);
  EXPECT_TRUE(config.context.empty());
}

// Case 19, and the defect that a time-out of set_config() was never used.
TEST_F(FlowSettings, ConstructorBeatsProcessBeatsEnvironmentBeatsFile) {
  write("timeout = 1.5\n");
  EXPECT_EQ(resolve({}, sources).timeout, Milliseconds(1'500));
  environment["SOJOURN_FLOW_TIMEOUT"] = "2";
  EXPECT_EQ(resolve({}, sources).timeout, Seconds(2));
  sources.process.timeout = Seconds(3);
  EXPECT_EQ(resolve({}, sources).timeout, Seconds(3));
  EXPECT_EQ(resolve({.timeout = Seconds(4)}, sources).timeout, Seconds(4));
}

TEST_F(FlowSettings, EverySettingCanBeSaidInTheFileAndInTheEnvironment) {
  write(
      "timeout = 9\nend_on_error = true\nlogging_setting = \"QUIET\"\nlog_file = \"x.log\"\nrun_identifier = \"r\"\n"
      "prompt_injection = false\nsave_state = false\nname = \"n\"\nflow_name = \"f\"\ngrace = 0.5\nrecord = false\n"
      "[context]\ncity = \"Oslo\"\n");
  const auto check = [](const Config& config) {
    EXPECT_EQ(config.timeout, Seconds(9));
    EXPECT_TRUE(config.end_on_error);
    EXPECT_EQ(config.logging_setting, LoggingSetting::quiet);
    EXPECT_EQ(config.log_file, "x.log");
    EXPECT_EQ(config.run_identifier, "r");
    EXPECT_FALSE(config.prompt_injection);
    EXPECT_FALSE(config.save_state);
    EXPECT_EQ(config.name, "n");
    EXPECT_EQ(config.flow_name, "f");
    EXPECT_EQ(config.grace, Milliseconds(500));
    EXPECT_FALSE(config.record);
    EXPECT_EQ(Json(config.context), Json({{"city", "Oslo"}}));
  };
  check(resolve({}, sources));
  environment = {{"SOJOURN_FLOW_TIMEOUT", "9"},
                 {"SOJOURN_FLOW_END_ON_ERROR", "true"},
                 {"SOJOURN_FLOW_LOGGING_SETTING", "QUIET"},
                 {"SOJOURN_FLOW_LOG_FILE", "x.log"},
                 {"SOJOURN_FLOW_RUN_IDENTIFIER", "r"},
                 {"SOJOURN_FLOW_PROMPT_INJECTION", "false"},
                 {"SOJOURN_FLOW_SAVE_STATE", "0"},
                 {"SOJOURN_FLOW_NAME", "n"},
                 {"SOJOURN_FLOW_FLOW_NAME", "f"},
                 {"SOJOURN_FLOW_GRACE", "0.5"},
                 {"SOJOURN_FLOW_RECORD", "false"},
                 {"SOJOURN_FLOW_CONTEXT", R"({"city":"Oslo"})"}};
  std::filesystem::remove(file);
  check(resolve({}, sources));
}

TEST_F(FlowSettings, NamesThePlaceOfWhatIsWrong) {
  environment["SOJOURN_FLOW_TIMEOUT"] = "soon";
  EXPECT_THAT(refusal(), HasSubstr("SOJOURN_FLOW_TIMEOUT: \"soon\": it must be a number of seconds above 0"));
  environment = {{"SOJOURN_FLOW_LOGGING_SETTING", "LOUD"}};
  EXPECT_THAT(refusal(), HasSubstr("it must be VERBOSE, REGULAR, QUIET or NONE"));
  environment.clear();
  write("time_out = 3\n");
  EXPECT_THAT(refusal(), HasSubstr("\"time_out\" is no setting of a flow session"));
  write("timeout = 3\nsave_state = maybe\n");
  EXPECT_THAT(refusal(), HasSubstr(", line 2: "));
  write("save_state = \"maybe\"\n");
  EXPECT_THAT(refusal(), HasSubstr("save_state: \"maybe\": it must be true or false"));
}

// Case 17.
TEST_F(FlowSettings, SetConfigReplacesOnlyWhatIsGivenAndHoldsForWhatComes) {
  clear_config();
  set_config({.timeout = Seconds(7), .name = "a"});
  set_config({.end_on_error = true, .name = "b"});
  const ConfigSources now = config_sources();
  EXPECT_EQ(now.process.timeout, Seconds(7));
  EXPECT_EQ(now.process.end_on_error, true);
  EXPECT_EQ(now.process.name, "b");
}

// Case 21.
TEST_F(FlowSettings, CallbackOfTheSessionReplacesThatOfTheProcess) {
  std::string called;
  Loop loop;
  const auto callback = [&called](const char* name) {
    return BroadcastCallback([&called, name](const Json&) { called += name; });
  };
  sources.process.broadcast_callback = callback("process ");
  (*resolve({}, sources).broadcast_callback)(loop, Json());
  (*resolve({.broadcast_callback = callback("session")}, sources).broadcast_callback)(loop, Json());
  EXPECT_EQ(called, "process session");
}

TEST_F(FlowSettings, ContextsAreJoinedKeyByKey) {
  environment["SOJOURN_FLOW_CONTEXT"] = R"({"a":1,"b":1})";
  sources.process.context = {{"b", 2}, {"c", 2}};
  const Config config = resolve({.context = {{"c", 3}}}, sources);
  EXPECT_EQ(config.context.at("a"), Json(1));
  EXPECT_EQ(config.context.at("b"), Json(2));
  EXPECT_EQ(config.context.at("c"), Json(3));
}

}  // namespace
}  // namespace sojourn::flow
