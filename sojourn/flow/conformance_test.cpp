#include <gmock/gmock.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>

#include "sojourn/flow/flow_fixture_test.hpp"
#include "sojourn/flow/record.hpp"

// Behaviours of the original that no other test of this room holds; their numbers are in
// docs/internals/railtracks.md.
namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const auto twice = node("twice", [](int n) { return 2 * n; });
const auto boom = node("boom", [](int n) -> int { throw std::out_of_range("no " + std::to_string(n)); });

// What the tests say of the process's settings holds for one test.
class FlowConformance : public FlowTest {
 protected:
  ~FlowConformance() override {
    clear_config();
    set_config(before_);
  }

 private:
  const Settings before_ = config_sources().process;
};

// Cases 1 and 64. The original could publish nothing before its first call.
TEST_F(FlowConformance, ASessionIsWholeBeforeItsFirstCall) {
  std::vector<std::string> heard;
  Session session(one_thread, {.context = {{"city", "Oslo"}}});
  session.publisher().subscribe(
      "test", MessageHandler([&heard](const Message& message) { heard.push_back(to_string(message)); }));
  session.broadcast("early");
  EXPECT_EQ(session.context().get("city"), Json("Oslo"));
  EXPECT_TRUE(session.info().graph.empty());
  EXPECT_EQ(session.info().answer(), std::nullopt);
  EXPECT_EQ(session.info().running, 0U);
  loop.run(session.close());
  EXPECT_THAT(heard, ElementsAre("BROADCAST \"early\""));
}

// Cases 2 and 22.
TEST_F(FlowConformance, ASessionTakesWhatTheProcessSaidBeforeItAndKeepsIt) {
  set_config({.timeout = Seconds(7), .end_on_error = true, .name = "given"});
  const Session session(one_thread), own(one_thread, {.timeout = Seconds(9)});
  set_config({.timeout = Seconds(1), .end_on_error = false, .name = "later"});
  EXPECT_EQ(session.config().timeout, Seconds(7));
  EXPECT_TRUE(session.config().end_on_error);
  EXPECT_EQ(session.config().name, "given");
  EXPECT_EQ(own.config().timeout, Seconds(9));
}

// Case 26.
TEST_F(FlowConformance, ASessionLeavesNothingOfItsContextToTheNext) {
  {
    Session(one_thread).context().put("secret", 1);
  }
  EXPECT_EQ(Session(one_thread).context().find("secret"), std::nullopt);
}

// Case 34.
TEST_F(FlowConformance, PathsOfCallsAtTheSameTimeStayApart) {
  std::vector<std::string> seen;
  const auto leaf = node("leaf", [&seen](Scope& scope, const std::string& from) -> Async<void> {
    co_await boost::asio::post(boost::asio::use_awaitable);
    seen.push_back(from + ":" + scope.path().at(1) + ">" + scope.path().at(2));
    EXPECT_EQ(scope.depth(), 2U);
  });
  const auto left = node("left", [leaf](Scope& scope) -> Async<void> {
    co_await scope.call(leaf, "left");
    EXPECT_THAT(scope.path(), ElementsAre("root", "left"));
  });
  const auto right = node("right", [leaf](Scope& scope) -> Async<void> {
    co_await scope.call(leaf, "right");
    EXPECT_THAT(scope.path(), ElementsAre("root", "right"));
  });
  const auto root = node("root", [=](Scope& scope) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    group.spawn(scope.call(left));
    group.spawn(scope.call(right));
    co_await group.join();
    EXPECT_THAT(scope.path(), ElementsAre("root"));
  });
  Session(one_thread).call_sync(root);
  EXPECT_THAT(seen, testing::UnorderedElementsAre("left:left>leaf", "right:right>leaf"));
}

// Case 46.
TEST(FlowRecord, RefusesTheEndOfACallThatNeverBegan) {
  Record record;
  EXPECT_THROW(record.complete(0, std::make_shared<const std::string>("1"), Time(), Nanoseconds(1)),
               std::out_of_range);
  EXPECT_THROW(record.fail(0, {.type = "Boom", .message = "?"}, Time(), Nanoseconds(1)), std::out_of_range);
}

class CountingStrategy final : public Strategy {
 public:
  explicit CountingStrategy(Strategy& inner) : inner_(inner) {}
  Executor new_lane() override {
    ++lanes;
    return inner_.new_lane();
  }
  unsigned width() const override { return inner_.width(); }
  bool goes_on_while_waited_for() const override { return inner_.goes_on_while_waited_for(); }
  void run(Async<void> work) override { inner_.run(std::move(work)); }

  int lanes = 0;

 private:
  Strategy& inner_;
};

// Case 47.
TEST_F(FlowConformance, EachCallIsRecordedAndRunOnceOnTheStrategy) {
  int runs = 0;
  const auto count = node("count", [&runs] { ++runs; });
  CountingStrategy strategy(one_thread);
  Session session(strategy);
  for (int call = 1; call <= 3; ++call) {
    session.call_sync(count);
    EXPECT_EQ(runs, call);
    EXPECT_EQ(strategy.lanes, call);
    EXPECT_EQ(session.info().graph.calls().size(), static_cast<std::size_t>(call));
  }
}

// Cases 45 and 48.
TEST_F(FlowConformance, EachCallEndsWithItsOwnOutcomeWhateverTheOrder) {
  Event doors[3];
  const auto wait = node("wait", [&doors](int n) -> Async<int> {
    if (n < 2) co_await doors[n].wait();
    if (n > 0) doors[n - 1].notify_all();
    if (n == 1) throw std::domain_error("one");
    co_return 10 * n;
  });
  const auto all = node("all", [wait](Scope& scope) -> Async<void> { co_await scope.call_batch(wait, {0, 1, 2}); });
  Session session(one_thread);
  session.call_sync(all);
  const Graph graph = session.info().graph;
  EXPECT_EQ(*graph.call(1).output, "0");
  EXPECT_EQ(graph.call(2).failure->message, "one");
  EXPECT_EQ(*graph.call(3).output, "20");
  EXPECT_GT(graph.call(1).finished->step, graph.call(2).finished->step);
  EXPECT_GT(graph.call(2).finished->step, graph.call(3).finished->step);
  for (const CallRecord& call : graph.calls()) EXPECT_GT(call.finished->step, call.created.step);
}

// Case 49.
TEST_F(FlowConformance, TellsOfACallThatDidNotBeginAndRecordsNone) {
  std::vector<std::string> heard;
  Session session(one_thread);
  session.publisher().subscribe(
      "test", MessageHandler([&heard](const Message& message) { heard.push_back(to_string(message)); }),
      {.wants = is_one_of<RequestCreationFailure>});
  const auto late = node("late", [&session](Scope& scope) -> Async<void> {
    session.cancel();
    EXPECT_THROW(co_await scope.call(twice, 1), Error);
  });
  EXPECT_THROW(session.call_sync(late), Error);
  loop.run(session.close());
  EXPECT_THAT(heard, ElementsAre("twice NOT CREATED: node \"twice\" did not begin: the run was stopped"));
  EXPECT_EQ(session.info().graph.calls().size(), 1U);
}

struct CountsCopies {
  explicit CountsCopies(int& count) : copies(&count) {}
  CountsCopies(const CountsCopies& other) : copies(other.copies) { ++*copies; }
  CountsCopies(CountsCopies&& other) noexcept = default;
  CountsCopies& operator=(const CountsCopies&) = delete;
  CountsCopies& operator=(CountsCopies&&) = delete;
  ~CountsCopies() = default;
  int* copies;
};

// Cases 58 and 65. The original copied its node for every call, and hung where that failed.
TEST_F(FlowConformance, CallsTheOneFunctionOfANodeAndCopiesNothingOfIt) {
  int copies = 0;
  const auto plain = node("plain", [held = CountsCopies(copies)] { return *held.copies; });
  const auto coroutine = node("coroutine", [held = CountsCopies(copies)]() -> Async<int> { co_return *held.copies; });
  const int before = copies;
  Session session(one_thread);
  for (int call = 0; call < 3; ++call) {
    EXPECT_EQ(session.call_sync(plain), before);
    EXPECT_EQ(session.call_sync(coroutine), before);
  }
}

// Case 63.
TEST_F(FlowConformance, ACallTookTheTimeBetweenItsStamps) {
  const auto slow = node("slow", [this] { clock.advance(Seconds(3)); });
  Session session(one_thread, clock, {});
  session.call_sync(slow);
  const CallRecord call = session.info().graph.call(0);
  EXPECT_EQ(call.duration, Seconds(3));
  EXPECT_EQ(call.finished->time - call.created.time, Seconds(3));
}

// Case 66.
TEST_F(FlowConformance, AFailureIsRecordedWhetherItEndsTheRunOrNot) {
  for (const bool ends : {false, true}) {
    Session session(one_thread, {.end_on_error = ends});
    EXPECT_ANY_THROW(session.call_sync(boom, 4));
    EXPECT_EQ(session.info().graph.call(0).failure->message, "no 4");
  }
}

// Case 67: what cannot become JSON is no argument and no result, and the program does not compile.
TEST(FlowConversion, TakesOnlyWhatBecomesJson) {
  EXPECT_TRUE((JsonConvertible<std::vector<std::optional<int>>>));
  EXPECT_FALSE(JsonConvertible<std::mutex>);
  EXPECT_FALSE(JsonConvertible<void (*)()>);
}

// Case 72.
TEST_F(FlowConformance, TheNodesCallerGetsAFatalErrorAndTheOutsideWhatEndedTheRun) {
  const auto fatal = node("fatal", [] { throw Fatal("the disk burns"); });
  bool caught = false;
  const auto catches = node("catches", [&, fatal](Scope& scope) -> Async<void> {
    try {
      co_await scope.call(fatal);
    } catch (const Fatal& error) {
      caught = error.message() == "the disk burns";
    }
  });
  Session session(one_thread);
  const auto [code, message] = error_of([&] { session.call_sync(catches); });
  EXPECT_EQ(code, ErrorCode::app_error);
  EXPECT_THAT(message, HasSubstr("the run ended with an error in node \"fatal\""));
  EXPECT_TRUE(caught);
}

// Case 100.
TEST_F(FlowConformance, WhatASessionRecordedGoesWithIt) {
  std::weak_ptr<const NodeType> type;
  Text input;
  {
    Session session(one_thread);
    {
      const auto once = node("once", [](int n) { return n; });
      type = once.type();
      session.call_sync(once, 1);
    }
    input = session.info().graph.call(0).input;
    EXPECT_FALSE(type.expired());
  }
  EXPECT_TRUE(type.expired());
  EXPECT_EQ(input.use_count(), 1);
}

}  // namespace
}  // namespace sojourn::flow
