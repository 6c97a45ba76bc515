#include "sojourn/cli/timeline.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn::cli {
namespace {

using Kind = Span::Kind;

const Time start = Time(Seconds(1'768'473'045));

JsonObject event(const std::string& type, const std::string& data, Microseconds after = Seconds(10)) {
  return parse_json_object(fmt::format(R"({{"seq":1,"time":"{}","type":"{}","actor":"a","data":{}}})",
                                       format_time(start + after), type, data));
}

TEST(Timeline, LetsWhatTookTimeBeginBeforeItsEvent) {
  const auto span = span_of(event("call.completed", R"({"function":"run","us":2500000})"), false);
  ASSERT_TRUE(span);
  EXPECT_EQ(span->kind, Kind::work);
  EXPECT_EQ(span->start, start + Milliseconds(7'500));
  EXPECT_EQ(span->end, start + Seconds(10));
  EXPECT_EQ(span->label, "call run");
  EXPECT_EQ(span->note, "2.50 s");
}

TEST(Timeline, MarksWhatFailed) {
  const struct {
    const char* type;
    const char* data;
    const char* note;
  } failures[] = {
      {"call.failed", R"({"function":"run","code":"app_error","message":"no"})", "FAILED app_error: no"},
      {"step.failed", R"({"step":"search","ms":5,"attempt":2,"error":"gone"})", "5.0 ms  FAILED gone  attempt 2"},
      {"session.failed", R"({"reason":"x","error":{"code":"WORKER_LOST","message":"dead"}})",
       "FAILED WORKER_LOST: dead"},
      {"worker.lost", R"({"reason":"killed by signal 9"})", "FAILED killed by signal 9"},
      {"log", R"({"level":"error","message":"bad"})", "FAILED bad"},
  };
  for (const auto& failure : failures) {
    const auto span = span_of(event(failure.type, failure.data), false);
    ASSERT_TRUE(span) << failure.type;
    EXPECT_EQ(span->kind, Kind::failure) << failure.type;
    EXPECT_EQ(span->note, failure.note);
  }
}

TEST(Timeline, DrawsTheStepsOfAlgorithms) {
  const auto span = span_of(
      event("algorithm.step", R"({"step_index":2,"status":"OK","latency_us":2500,"result_status":"NG"})"), false);
  ASSERT_TRUE(span);
  EXPECT_EQ(span->kind, Kind::work);
  EXPECT_EQ(span->start, start + Seconds(10) - Microseconds(2'500));
  EXPECT_EQ(span->label, "step 2");
  EXPECT_EQ(span->note, "2.5 ms  NG");
  const auto failed =
      span_of(event("algorithm.step",
                    R"({"step_index":1,"status":"ERROR","latency_us":7,"error_code":"1002","message":"dark"})"),
              false);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->kind, Kind::failure);
  EXPECT_EQ(failed->note, "7 us  FAILED 1002: dark");
}

TEST(Timeline, TellsOfStagesFromWhereAndWhy) {
  const auto span = span_of(event("session.stage", R"({"from":"created","to":"done","reason":"all there"})"), false);
  ASSERT_TRUE(span);
  EXPECT_EQ(span->kind, Kind::stage);
  EXPECT_EQ(span->label, "stage done");
  EXPECT_EQ(span->note, "from created: all there");
}

TEST(Timeline, LeavesOutWhatSaysLittleUnlessAllIsWanted) {
  for (const char* type : {"log", "state.changed", "resource.added", "call.accepted", "step.started"}) {
    EXPECT_FALSE(span_of(event(type, "{}"), false)) << type;
    EXPECT_TRUE(span_of(event(type, "{}"), true)) << type;
  }
  EXPECT_TRUE(span_of(event("rows.imported", "{}"), false));
}

TEST(Timeline, RefusesWhatIsNoEvent) {
  EXPECT_ANY_THROW(span_of(parse_json_object("{}"), false));
  EXPECT_ANY_THROW(span_of(parse_json_object(R"({"time":7,"type":"log","data":{}})"), false));
}

TEST(Timeline, PutsEachBarWhereItBelongs) {
  const Time end = start + Seconds(10);
  const auto bar = [&](Kind kind, Microseconds from, Microseconds to) {
    return bar_of({.kind = kind, .start = start + from, .end = start + to}, start, end, 10);
  };
  EXPECT_EQ(bar(Kind::work, Seconds(2), Seconds(5)), "..####....");
  EXPECT_EQ(bar(Kind::work, Seconds(0), Seconds(10)), "##########");
  EXPECT_EQ(bar(Kind::failure, Seconds(9), Seconds(10)), ".........x");
  EXPECT_EQ(bar(Kind::point, Seconds(0), Seconds(0)), "+.........");
  EXPECT_EQ(bar(Kind::stage, Seconds(5), Seconds(5)), ".....|....");
  EXPECT_EQ(bar(Kind::work, -Seconds(5), Seconds(99)), "##########");  // clocks may be set
  EXPECT_EQ(bar_of({.kind = Kind::point, .start = start, .end = start}, start, start, 4), "+...");
}

TEST(Timeline, WritesDurationsForPeople) {
  EXPECT_EQ(duration_text(Microseconds(340)), "340 us");
  EXPECT_EQ(duration_text(Microseconds(12'500)), "12.5 ms");
  EXPECT_EQ(duration_text(Milliseconds(3'200)), "3.20 s");
  EXPECT_EQ(duration_text(Seconds(245)), "4 min 05 s");
  EXPECT_EQ(duration_text(Seconds(11'220)), "3 h 07 min");
  EXPECT_EQ(duration_text(-Seconds(1)), "0 us");
}

}  // namespace
}  // namespace sojourn::cli
