#include "sojourn/cli/flow_tree.hpp"

#include <gmock/gmock.h>

#include <sstream>

#include "sojourn/base/error.hpp"

namespace sojourn::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<FlowCall> calls(const std::string& json) {
  return calls_of(parse_json(R"({"calls":)" + json + "}"));
}

std::string drawn(const std::vector<FlowCall>& calls, bool all = false) {
  std::istringstream in;
  std::ostringstream out, err;
  Console console{.in = in, .out = out, .err = err};
  draw_tree(console, calls, all);
  return out.str();
}

const std::string report = R"([
  {"call":0,"caller":null,"node":"report","status":"Failed","start_us":0,"us":8000,"error":"no\u001b[2J"},
  {"call":1,"caller":0,"node":"walk","status":"Completed","start_us":0,"us":2000},
  {"call":2,"caller":0,"node":"look","status":"Completed","start_us":2000,"us":4000},
  {"call":3,"caller":2,"node":"count","status":"Completed","start_us":3000,"us":1000},
  {"call":4,"caller":0,"node":"rank","status":"Open","start_us":6000,"us":2000}])";

TEST(FlowTree, ShowsWhoCalledWhomAndWhen) {
  EXPECT_EQ(drawn(calls(report)),
            "report                                  8.0 ms  xxxxxxxxxxxxxxxxxxxxxxxx  FAILED no?[2J\n"
            "|- walk                                 2.0 ms  #######.................\n"
            "|- look                                 4.0 ms  ......#############.....\n"
            "|  `- count                             1.0 ms  .........####...........\n"
            "`- rank                                 2.0 ms  ..................######  open\n");
}

TEST(FlowTree, RefusesTwoCallsOfOneNumber) {
  // Each would have the calls of both below it, and those theirs: twice as many lines on each level.
  EXPECT_THROW(calls(R"([
    {"call":0,"caller":null,"node":"a","status":"Completed","start_us":0,"us":1},
    {"call":1,"caller":0,"node":"b","status":"Completed","start_us":0,"us":1},
    {"call":1,"caller":0,"node":"b","status":"Completed","start_us":0,"us":1}])"),
               Error);
}

TEST(FlowTree, CountsCallsThatAreAlikeUnlessAllAreWanted) {
  JsonArray many{
      {{"call", 0}, {"caller", nullptr}, {"node", "all"}, {"status", "Completed"}, {"start_us", 0}, {"us", 9}}};
  for (int i = 1; i <= 300; ++i) {
    many.push_back({{"call", i},
                    {"caller", 0},
                    {"node", "one"},
                    {"status", i == 200 ? "Failed" : "Completed"},
                    {"start_us", 0},
                    {"us", 1},
                    {"error", "x"}});
  }
  const std::vector<FlowCall> run = calls_of(JsonObject{{"calls", many}});
  const std::string some = drawn(run);
  EXPECT_EQ(std::ranges::count(some, '\n'), 1 + 10 + 1 + 1);
  EXPECT_THAT(some, HasSubstr("|- ... 289 more of one\n"));
  EXPECT_THAT(some, HasSubstr("FAILED"));
  EXPECT_EQ(std::ranges::count(drawn(run, true), '\n'), 301);
}

TEST(FlowTree, DrawsADeepRunWithinTheScreen) {
  JsonArray deep;
  for (int i = 0; i < 1'000; ++i) {
    deep.push_back({{"call", i},
                    {"caller", i == 0 ? Json() : Json(i - 1)},
                    {"node", "down"},
                    {"status", "Completed"},
                    {"start_us", i},
                    {"us", 2'000 - 2 * i}});
  }
  std::istringstream lines(drawn(calls_of(JsonObject{{"calls", deep}})));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) EXPECT_LT(line.size(), 100U);
  EXPECT_EQ(count, 1'000);
}

TEST(FlowTree, TakesACallThatNamesNoEarlierCallerForOneFromOutside) {
  const auto odd = calls(R"([{"call":0,"caller":0,"node":"a","status":"Open","start_us":0,"us":0},
                             {"call":1,"caller":7,"node":"b","status":"Open","start_us":-5,"us":-1}])");
  EXPECT_FALSE(odd[0].caller);
  EXPECT_FALSE(odd[1].caller);
  EXPECT_EQ(std::ranges::count(drawn(odd), '\n'), 2);
  EXPECT_EQ(drawn({}), "");
}

TEST(FlowTree, RefusesWhatIsNoRun) {
  for (const char* text : {"{}", "[]", "7", R"({"calls":[7]})", R"({"calls":[{"call":"0"}]})", R"({"calls":{}})"}) {
    EXPECT_THROW(calls_of(parse_json(text)), Error) << text;
  }
}

TEST(FlowTree, WritesAPictureWithEachCallAndNothingOfTheirsAsMarkup) {
  auto run = calls(report);
  run[1].node = "<b>&walk";
  const std::string svg = svg_of(run, "a & b");
  EXPECT_THAT(svg, testing::StartsWith("<svg xmlns="));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
  EXPECT_THAT(svg, HasSubstr("<title>a &amp; b</title>"));
  EXPECT_THAT(svg, HasSubstr("&lt;b&gt;&amp;walk"));
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
  EXPECT_THAT(svg, HasSubstr("report: Failed, 8.0 ms, no?[2J"));
  std::size_t bars = 0;
  for (auto at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1)) ++bars;
  EXPECT_EQ(bars, 5U);
}

TEST(FlowTree, WritesNothingIntoAPictureThatXmlForbids) {
  auto run = calls(report);
  run[0].node =
      "a\xEF\xBF\xBE"
      "b\xEF\xBF\xBF"
      "c\xEF\xBF\xBD\x01"
      "d";
  EXPECT_THAT(svg_of(run, "t"), HasSubstr("a\xEF\xBF\xBD"
                                          "b\xEF\xBF\xBD"
                                          "c\xEF\xBF\xBD?d"));
}

}  // namespace
}  // namespace sojourn::cli
