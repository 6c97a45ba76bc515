#include "sojourn/session/lifecycles.hpp"

#include <gmock/gmock.h>

#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::session {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string problem_of(std::string_view toml) {
  try {
    parse_lifecycle("review", toml, "review.toml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::config_invalid);
    return error.message();
  }
  return "none";
}

TEST(Lifecycles, HaveTheMachineOfTheImpactAssessment) {
  const Lifecycles lifecycles;
  EXPECT_THAT(lifecycles.names(), ElementsAre("impact-assessment"));
  const Lifecycle& assessment = lifecycles.named("impact-assessment");
  EXPECT_EQ(assessment.first(), "created");
  EXPECT_THAT(assessment.allowed_after("created"), ElementsAre("error", "requirement_submitted"));
  EXPECT_THAT(assessment.allowed_after("requirement_submitted"), ElementsAre("error", "matches_found"));
  EXPECT_THAT(assessment.allowed_after("matches_found"), ElementsAre("error", "matches_selected"));
  EXPECT_THAT(assessment.allowed_after("matches_selected"), ElementsAre("error", "generating_impact"));
  EXPECT_THAT(assessment.allowed_after("generating_impact"), ElementsAre("completed", "error"));
  EXPECT_TRUE(assessment.is_final("completed"));
  EXPECT_TRUE(assessment.is_final("error"));
}

TEST(Lifecycles, AreReadFromAFolder) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "review.toml") << "stages = [\"draft\", \"done\"]\n"
                                                  "final = [\"done\"]\n"
                                                  "[moves]\n"
                                                  "draft = [\"draft\", \"done\"]\n";
  std::ofstream(folder.path() / "notes.txt") << "not one of them";
  Lifecycles lifecycles;
  lifecycles.read(folder.path());
  lifecycles.read(folder.path() / "missing");
  EXPECT_THAT(lifecycles.names(), ElementsAre("impact-assessment", "review"));
  EXPECT_EQ(lifecycles.named("review").first(), "draft");
  EXPECT_EQ(lifecycles.named("").first(), "created");
}

TEST(Lifecycles, NameTheKnownOnesWhereOneIsUnknown) {
  try {
    Lifecycles().named("nope\xff");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_EQ(error.details().at("known"), JsonArray{"impact-assessment"});
  }
}

TEST(Lifecycles, SayWhatIsWrongInAFile) {
  const std::string good = "stages = [\"a\", \"b\"]\nfinal = [\"b\"]\n[moves]\na = [\"b\"]\n";
  EXPECT_EQ(problem_of(good), "none");
  const std::pair<const char*, const char*> bad[] = {
      {"stages = [", "review.toml:1: "},
      {"stages = [\"a\"]\ncolour = 1", "review.toml:2: there is no key 'colour'"},
      {"", "'stages' must name the stages"},
      {"stages = \"a\"", "'stages' must be a list"},
      {"stages = [1]", "'stages' must hold stages"},
      {"stages = [\"A\"]\nfinal = [\"A\"]", "'A' is no stage"},
      {"stages = [\"a\"]", "nothing follows stage 'a', and it is not among 'final'"},
      {"stages = [\"a\", \"b\"]\nfinal = [\"b\"]\n[moves]\na = [\"c\"]", "review.toml:4: 'c' is not among 'stages'"},
      {"stages = [\"a\"]\nfinal = [\"a\"]\nerror = \"e\"", "'e' is not among 'stages'"},
      {"stages = [\"a\", \"b\"]\nfinal = [\"b\", \"a\"]\n[moves]\na = [\"b\"]", "is among 'final', and has moves"},
      {"stages = [\"a\", \"b\"]\nfinal = [\"a\", \"b\"]", "no move leads to stage 'b'"},
      {"stages = [\"a\"]\nfinal = [\"a\"]\nmoves = 1", "'moves' must be a table"},
  };
  for (const auto& [toml, problem] : bad) EXPECT_THAT(problem_of(toml), HasSubstr(problem)) << toml;
}

}  // namespace

}  // namespace sojourn::session
