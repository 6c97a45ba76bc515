#include "sojourn/server/flow_runs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace sojourn::server {
namespace {

class FlowRunsTest : public testing::Test {
 protected:
  void event(const std::string& type, JsonObject data) {
    const std::uint64_t seq = journal.size() + 1;
    journal.push_back({.seq = seq,
                       .body = to_text(JsonObject{{"seq", seq},
                                                  {"time", "2026-11-21T11:00:0" + std::to_string(seq % 10) + "Z"},
                                                  {"type", type},
                                                  {"actor", "app"},
                                                  {"data", std::move(data)}})});
  }

  static Json call(int number, const std::string& status, int start_us = 0) {
    return {{"call", number},   {"caller", nullptr},    {"node", "n"},
            {"status", status}, {"start_us", start_us}, {"us", 1}};
  }

  void progress(const std::string& task, JsonArray calls) {
    event("flow.progress", {{"task", task},
                            {"function", "f"},
                            {"start", "2026-11-21T11:00:00Z"},
                            {"calls", std::move(calls)},
                            {"left_out", journal.size()}});
  }
  void run(const std::string& task, std::size_t bytes = 1) {
    event("flow.run", {{"task", task}, {"calls", JsonArray()}, {"pad", std::string(bytes, 'x')}});
  }

  JsonArray json(FlowRuns& runs) { return parse_json(runs.json()).as_array(); }

  std::vector<store::Event> journal;
  const Time now = parse_time("2026-11-21T11:00:20Z");
};

TEST_F(FlowRunsTest, PutsARunThatRunsTogetherFromWhatWasToldOfIt) {
  run("a");
  progress("b", {call(0, "Open"), call(1, "Open", 1'000'000)});
  event("other", {});
  progress("b", {call(1, "Completed", 1'000'000), call(2, "Open", 3'000'000)});
  FlowRuns runs(20, 1'000'000);
  runs.add(journal);
  EXPECT_EQ(runs.open_task(), "b");
  runs.end(true, now);
  const JsonArray all = json(runs);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].at("state"), Json("over"));
  const Json& open = all[1];
  EXPECT_EQ(open.at("state"), Json("running"));
  EXPECT_EQ(open.at("seq"), Json(2));
  EXPECT_EQ(open.at("time"), Json("2026-11-21T11:00:04Z"));
  EXPECT_EQ(open.at("left_out").to_number<int>(), 3);
  ASSERT_EQ(open.at("calls").as_array().size(), 3U);
  EXPECT_EQ(open.at("calls").at(0).at("us").to_number<int>(), 20'000'000);  // until now
  EXPECT_EQ(open.at("calls").at(1).at("us").to_number<int>(), 1);
  EXPECT_EQ(open.at("calls").at(2).at("us").to_number<int>(), 17'000'000);
  EXPECT_EQ(runs.next(), 0U);
}

TEST_F(FlowRunsTest, HasOnlyTheWholeOfARunThatIsOver) {
  progress("a", {call(0, "Open")});
  run("a");
  FlowRuns runs(20, 1'000'000);
  runs.add(journal);
  runs.end(false, now);
  const JsonArray all = json(runs);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].at("state"), Json("over"));
}

TEST_F(FlowRunsTest, ShowsHowFarARunWasThatWasCutShort) {
  progress("a", {call(0, "Open")});
  run("b");
  progress("c", {call(0, "Open")});
  FlowRuns runs(20, 1'000'000);
  runs.add(journal);
  runs.end(false, now);
  const JsonArray all = json(runs);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].at("task"), Json("a"));
  EXPECT_EQ(all[0].at("state"), Json("cut_short"));
  EXPECT_EQ(all[0].at("calls").at(0).at("us").to_number<int>(), 1'000'000);  // until it was heard of last
  EXPECT_EQ(all[1].at("state"), Json("over"));
  EXPECT_EQ(all[2].at("state"), Json("cut_short"));
}

// Each page is asked for from where the last one says.
TEST_F(FlowRunsTest, ShowsEveryRunOnOnePageOnly) {
  for (const char* task : {"a", "b", "c", "d"}) {
    progress(task, {call(0, "Open")});
    progress(task, {call(1, "Open")});
    if (*task != 'b') run(task);
  }
  for (const std::size_t limit : {1, 2, 3}) {
    std::string seen;
    for (std::uint64_t from = 1; from > 0;) {
      FlowRuns runs(limit, 1'000'000);
      runs.add({journal.begin() + static_cast<std::ptrdiff_t>(from) - 1, journal.end()});
      runs.end(false, now);
      for (const Json& each : json(runs)) seen += std::string(each.at("task").as_string());
      from = runs.next() > journal.size() ? 0 : runs.next();
    }
    EXPECT_EQ(seen, "abcd") << limit;
  }
}

TEST_F(FlowRunsTest, IsBoundedInBytesAndHoldsAtLeastOneRun) {
  for (const char* task : {"a", "b", "c"}) run(task, 5'000);
  FlowRuns runs(20, 6'000);
  runs.add(journal);
  EXPECT_EQ(json(runs).size(), 2U);
  EXPECT_EQ(runs.next(), 3U);
  FlowRuns least(20, 1);
  least.add(journal);
  EXPECT_EQ(json(least).size(), 1U);
}

TEST_F(FlowRunsTest, FollowsARunThatFillsThePageToItsEnd) {
  run("a", 900);
  progress("b", {call(0, "Open")});
  run("b");
  run("c");
  FlowRuns runs(20, 1'100);
  for (const store::Event& each : journal) runs.add({each});
  EXPECT_TRUE(runs.is_full());
  runs.end(false, now);
  const JsonArray all = json(runs);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].at("task"), Json("b"));
  EXPECT_EQ(all[1].at("state"), Json("over"));
  EXPECT_EQ(runs.next(), 4U);
}

TEST_F(FlowRunsTest, HoldsSoMuchOnlyOfARunThatIsToldOfWithoutEnd) {
  for (int i = 0; i < 100; ++i) progress("a", {call(i, "Completed")});
  run("b");
  FlowRuns runs(20, 1'000);
  runs.add(journal);
  runs.end(false, now);
  EXPECT_LT(json(runs).at(0).at("calls").as_array().size(), 10U);
  EXPECT_LT(runs.bytes(), 2'000U);
  EXPECT_EQ(runs.next(), 101U);
}

TEST_F(FlowRunsTest, PassesOverWhatWasAltered) {
  run("a");
  journal.push_back({.seq = 2, .body = "{"});
  journal.push_back(
      {.seq = 3, .body = R"({"seq":3,"time":"x","type":"flow.progress","data":{"task":"b","calls":7}})"});
  progress("c", {JsonObject{{"call", 1}}});
  FlowRuns runs(20, 1'000'000);
  runs.add(journal);
  runs.end(true, now);
  EXPECT_EQ(json(runs).size(), 1U);
}

}  // namespace
}  // namespace sojourn::server
