#include "sojourn/flow/message.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace sojourn::flow {
namespace {

std::string text_of(MessageBody body) {
  return to_string(Message{.body = std::move(body)});
}

// Case 44.
TEST(FlowMessage, IsOneLineForPeople) {
  const auto count = std::make_shared<const NodeType>("count"), report = std::make_shared<const NodeType>("report");
  const auto json = [](const char* text) { return std::make_shared<const std::string>(text); };
  EXPECT_EQ(text_of(RequestCreation{.call = 0, .node = count, .input = json("[1]")}), "START CREATED count");
  EXPECT_EQ(
      text_of(RequestCreation{.call = 1, .caller = 0, .node = count, .caller_node = report, .input = json("[]")}),
      "report CREATED count");
  EXPECT_EQ(text_of(RequestSuccess{.call = 1, .node = count, .output = json("42")}), "count DONE with 42");
  EXPECT_EQ(text_of(RequestFailure{.call = 1, .node = count, .failure = {.type = "T", .message = "no"}}),
            "count FAILED: no");
  EXPECT_EQ(text_of(RequestCreationFailure{.node = count, .failure = {.type = "T", .message = "too deep"}}),
            "count NOT CREATED: too deep");
  EXPECT_EQ(text_of(FatalFailure{.call = 1, .message = "end"}), "FATAL: end");
  EXPECT_EQ(text_of(BroadcastEvent{.call = 1, .item = Json({{"n", 1}})}), R"(BROADCAST {"n":1})");
}

TEST(FlowMessage, IsShortWhateverItHolds) {
  const auto count = std::make_shared<const NodeType>("count");
  std::string umlauts;
  for (int i = 0; i < 1'000; ++i) umlauts += "\xc3\xa4";
  const std::string line = text_of(RequestFailure{.node = count, .failure = {.type = "T", .message = "x" + umlauts}});
  EXPECT_LT(line.size(), 250U);
  EXPECT_TRUE(line.ends_with("\xc3\xa4..."));
  EXPECT_FALSE(text_of(BroadcastEvent{.item = std::numeric_limits<double>::infinity()}).empty());
}

}  // namespace
}  // namespace sojourn::flow
