#include "sojourn/flow/run_progress.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/flow/record.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;

class FlowProgress : public testing::Test {
 protected:
  CallId begin(const std::string& name = "node") {
    return record.begin(std::make_shared<const NodeType>(name), std::nullopt, nullptr, Time());
  }

  // The numbers of the calls that are told of next.
  std::vector<int> told() {
    last = progress.changed(record.beginning(told_calls), record.size());
    std::vector<int> numbers;
    if (!last) return numbers;
    for (const Json& call : last->at("calls").as_array()) numbers.push_back(call.at("call").to_number<int>());
    return numbers;
  }

  session::CallRequest request{.task_id = "t", .function = "f"};
  Record record;
  RunProgress progress{request};
  std::optional<JsonObject> last;
};

TEST_F(FlowProgress, TellsOfEachCallThatItBeganAndThatItEnded) {
  EXPECT_THAT(told(), ElementsAre());
  begin();
  begin();
  EXPECT_THAT(told(), ElementsAre(0, 1));
  EXPECT_THAT(told(), ElementsAre());
  begin();
  record.fail(0, {.type = "T", .message = "no"}, Time(), Nanoseconds(5'000));
  EXPECT_THAT(told(), ElementsAre(0, 2));
  EXPECT_EQ(last->at("calls").at(0).at("error"), Json("no"));
  EXPECT_EQ(last->at("left_out"), Json(std::size_t{0}));
}

TEST_F(FlowProgress, TellsNoMoreAtOnceThanAnEventMayHoldAndTheRestNext) {
  for (int i = 0; i < 900; ++i) begin(std::string(100, '\x01'));
  const std::vector<int> first = told();
  EXPECT_LT(to_text(*last).size(), limits::event_bytes);
  EXPECT_EQ(last->at("left_out"), Json(900 - first.size()));
  std::size_t all = first.size();
  for (std::vector<int> more = told(); !more.empty(); more = told()) all += more.size();
  EXPECT_EQ(all, 900U);
}

TEST_F(FlowProgress, CountsTheCallsPastTheFirstThousand) {
  for (int i = 0; i < 1'200; ++i) begin();
  std::size_t all = 0;
  for (std::vector<int> more = told(); !more.empty(); more = told()) all += more.size();
  EXPECT_EQ(all, told_calls);
  record.complete(0, nullptr, Time(), Nanoseconds(0));
  EXPECT_THAT(told(), ElementsAre(0));
  EXPECT_EQ(last->at("left_out"), Json(std::size_t{200}));
}

}  // namespace
}  // namespace sojourn::flow
