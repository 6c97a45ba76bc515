#include "sojourn/flow/graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "sojourn/flow/record.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A record that is told what happens in words, on a clock of its own.
class FlowGraph : public testing::Test {
 protected:
  CallId begin(const char* name, std::optional<CallId> caller = std::nullopt) {
    return record.begin(std::make_shared<const NodeType>(name), caller, text("[1]"), tick());
  }
  void complete(CallId id, const char* output = "null") {
    record.complete(id, text(output), tick(), std::chrono::milliseconds(5));
  }
  void fail(CallId id) {
    record.fail(id, {.type = "Boom", .message = "it broke"}, tick(), std::chrono::milliseconds(5));
  }

  static Text text(const char* json) { return std::make_shared<const std::string>(json); }
  Time tick() { return now += Milliseconds(1); }

  Time now{Seconds(1'700'000'000)};
  Record record;
};

// Case 59, and the defect that a node which returns nothing stayed open for ever.
TEST_F(FlowGraph, CallIsOpenCompletedOrFailed) {
  const CallId open = begin("a"), done = begin("b"), failed = begin("c");
  complete(done, "null");
  fail(failed);
  const Graph graph = record.graph();
  EXPECT_EQ(graph.call(open).status(), CallStatus::open);
  EXPECT_EQ(graph.call(done).status(), CallStatus::completed);
  EXPECT_EQ(graph.call(failed).status(), CallStatus::failed);
  EXPECT_EQ(graph.call(failed).failure->message, "it broke");
}

// Case 60.
TEST_F(FlowGraph, KnowsWhoCalledWhom) {
  const CallId root = begin("root"), left = begin("left", root), right = begin("right", root);
  const CallId leaf = begin("leaf", left);
  const Graph graph = record.graph();
  EXPECT_THAT(graph.children(root), ElementsAre(left, right));
  EXPECT_THAT(graph.children(leaf), IsEmpty());
  EXPECT_THAT(graph.downstream(root), ElementsAre(left, right, leaf));
  EXPECT_THAT(graph.upstream(leaf), ElementsAre(left, root));
  EXPECT_THAT(graph.roots(), ElementsAre(root));
}

TEST_F(FlowGraph, OpenTailsAreThoseThatWaitForNoOther) {
  const CallId root = begin("root"), left = begin("left", root), right = begin("right", root);
  EXPECT_THAT(record.graph().open_tails(), ElementsAre(left, right));
  EXPECT_FALSE(record.graph().are_children_complete(root));
  complete(left);
  fail(right);
  EXPECT_THAT(record.graph().open_tails(), ElementsAre(root));
  EXPECT_TRUE(record.graph().are_children_complete(root));
}

// Cases 62 and 76.
TEST_F(FlowGraph, AnswerIsNothingOneOutputOrAllInOrder) {
  EXPECT_EQ(record.graph().answer(), std::nullopt);
  const CallId first = begin("a"), second = begin("b"), third = begin("c");
  EXPECT_EQ(record.graph().answer(), std::nullopt);
  complete(second, "\"two\"");
  EXPECT_EQ(record.graph().answer(), Json("two"));
  complete(first, "1");
  fail(third);
  EXPECT_EQ(record.graph().answer(), Json(JsonArray{1, "two"}));
}

TEST_F(FlowGraph, RefusesACallThatItDoesNotHave) {
  begin("a");
  EXPECT_THROW(record.graph().call(1), Error);
  EXPECT_THROW(record.graph().children(7), Error);
}

// Cases 53 and 54.
TEST_F(FlowGraph, CanBeHadAsItWasAtAnyStep) {
  const CallId root = begin("root");          // step 0
  const CallId child = begin("child", root);  // step 1
  complete(child, "2");                       // step 2
  complete(root, "3");                        // step 3

  EXPECT_TRUE(record.graph_at(0).empty());
  EXPECT_EQ(record.graph_at(1).calls().size(), 1U);
  const Graph before = record.graph_at(2);
  EXPECT_EQ(before.call(child).status(), CallStatus::open);
  EXPECT_EQ(before.call(child).output, nullptr);
  const Graph after = record.graph_at(3);
  EXPECT_EQ(after.call(child).status(), CallStatus::completed);
  EXPECT_EQ(after.call(root).status(), CallStatus::open);
  EXPECT_EQ(record.graph_at(100).call(root).status(), CallStatus::completed);
}

TEST_F(FlowGraph, DoesNotChangeWithTheRecordItCameFrom) {
  const CallId root = begin("root");
  const Graph graph = record.graph();
  complete(root);
  begin("other");
  EXPECT_EQ(graph.calls().size(), 1U);
  EXPECT_EQ(graph.call(root).status(), CallStatus::open);
}

// Case 68.
TEST_F(FlowGraph, StampsCountEveryBeginningAndEndFromZero) {
  const CallId root = begin("root"), child = begin("child", root);
  complete(child);
  fail(root);
  const std::vector<Stamp> stamps = record.graph().stamps();
  ASSERT_EQ(stamps.size(), 4U);
  for (std::uint32_t step = 0; step < 4; ++step) EXPECT_EQ(stamps[step].step, step);
  EXPECT_TRUE(std::ranges::is_sorted(stamps));
}

// Case 70.
TEST_F(FlowGraph, PartBelowSomeRootsHoldsExactlyTheirCalls) {
  const CallId first = begin("first"), second = begin("second");
  const CallId below_second = begin("child", second), below_first = begin("child", first);
  const Graph graph = record.graph();
  const Graph part = graph.only(std::vector{second});
  EXPECT_THAT(part.roots(), ElementsAre(second));
  EXPECT_THAT(part.downstream(second), ElementsAre(below_second));
  EXPECT_THROW(part.call(below_first), Error);
  EXPECT_EQ(graph.only(graph.roots()).calls().size(), 4U);
}

// Case 54: what was not yet there is not in it.
TEST_F(FlowGraph, PartBelowSomeRootsCanBeHadAsItWas) {
  const CallId first = begin("first"), second = begin("second");  // steps 0 and 1
  const CallId child = begin("child", second);                    // step 2
  complete(child);
  const Graph then = record.graph_at(3).only(std::vector{second});
  EXPECT_EQ(then.calls().size(), 2U);
  EXPECT_EQ(then.call(child).status(), CallStatus::open);
  EXPECT_THROW(record.graph_at(2).only(std::vector{second}).call(child), Error);
  EXPECT_THROW(record.graph_at(1).only(std::vector{second}), Error);
  EXPECT_EQ(record.graph_at(1).only(std::vector{first}).calls().size(), 1U);
}

// Whatever happens in whatever order: ids and steps have no gaps, callers begin before those they call, and the graph
// at each step is the record of what had happened by then.
TEST_F(FlowGraph, HoldsTogetherInAnyOrderOfEvents) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<CallId> open;
  std::vector<std::size_t> open_after;  // each step
  for (int i = 0; i < 500; ++i) {
    const auto pick = [&] { return random() % open.size(); };
    if (open.empty() || random() % 5 < 3) {
      open.push_back(begin("n", open.empty() || random() % 8 == 0 ? std::nullopt : std::optional(open[pick()])));
    } else {
      const auto place = open.begin() + static_cast<std::ptrdiff_t>(pick());
      random() % 2 == 0 ? complete(*place) : fail(*place);
      open.erase(place);
    }
    open_after.push_back(open.size());
  }
  for (std::uint32_t step = 1; step <= 500; step += 7) {
    const Graph then = record.graph_at(step);
    EXPECT_EQ(then.stamps().size(), step);
    EXPECT_EQ(then.stamps().back().step, step - 1);
    const auto still_open = std::ranges::count(then.calls(), CallStatus::open, &CallRecord::status);
    EXPECT_EQ(static_cast<std::size_t>(still_open), open_after[step - 1]);
  }
  const Graph graph = record.graph();
  for (const CallRecord& call : graph.calls()) {
    if (call.caller) {
      EXPECT_LT(graph.call(*call.caller).created.step, call.created.step);
      EXPECT_THAT(graph.children(*call.caller), testing::Contains(call.id));
    }
  }
}

TEST(FlowFailure, NamesTheTypeOfAnyException) {
  EXPECT_EQ(failure_of(std::make_exception_ptr(std::out_of_range("far"))).type, "std::out_of_range");
  EXPECT_EQ(failure_of(std::make_exception_ptr(std::out_of_range("far"))).message, "far");
  EXPECT_EQ(failure_of(std::make_exception_ptr(42)).type, "int");
  EXPECT_EQ(failure_of(std::make_exception_ptr(std::runtime_error("\xff"))).message, "\xef\xbf\xbd");
}

}  // namespace
}  // namespace sojourn::flow
