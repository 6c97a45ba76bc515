#include "sojourn/flow/scope.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <latch>
#include <map>
#include <numeric>
#include <thread>

#include "sojourn/flow/flow_fixture_test.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

int add(int a, int b) {
  return a + b;
}

class FlowScope : public FlowTest {
 protected:
  Session session{one_thread, clock, {}};
};

TEST_F(FlowScope, MakesNodesOfFunctionsLambdasAndCoroutines) {
  const auto function = node("function", add);
  const auto lambda = node("lambda", [by = 3](const std::string& text) { return text + std::to_string(by); });
  const auto coroutine =
      node("coroutine", [](Scope& scope, std::vector<int> numbers) -> Async<std::map<std::string, int>> {
        co_return std::map<std::string, int>{{scope.node_name(), std::accumulate(numbers.begin(), numbers.end(), 0)}};
      });
  EXPECT_EQ(session.call_sync(function, 1, 2), 3);
  EXPECT_EQ(session.call_sync(lambda, "n"), "n3");
  EXPECT_EQ(session.call_sync(coroutine, std::vector{1, 2, 3}).at("coroutine"), 6);
}

TEST_F(FlowScope, KeepsWhatACoroutineTakesByReference) {
  const auto late = node("late", [](const std::string& text) -> Async<std::string> {
    SystemClock now;
    co_await sleep_until(now, now.instant());
    co_return text;
  });
  EXPECT_EQ(session.call_sync(late, std::string(100, 'x')), std::string(100, 'x'));
}

TEST_F(FlowScope, KnowsWhereItIs) {
  const auto inner = node("inner", [](Scope& scope) {
    EXPECT_THAT(scope.path(), ElementsAre("outer", "inner"));
    EXPECT_EQ(scope.depth(), 1U);
    return scope.session_id();
  });
  const auto outer = node("outer", [inner](Scope& scope) -> Async<std::string> {
    EXPECT_EQ(scope.depth(), 0U);
    co_return co_await scope.call(inner);
  });
  EXPECT_EQ(session.call_sync(outer), session.id());
  const Graph graph = session.info().graph;
  EXPECT_THAT(graph.children(0), ElementsAre(1U));
  EXPECT_EQ(graph.call(0).node->name, "outer");
}

// Case 25.
TEST_F(FlowScope, SharesTheContextWithAllNodes) {
  const auto puts = node("puts", [](Scope& scope) { scope.context().put("city", "Oslo"); });
  const auto gets = node("gets", [](Scope& scope) { return std::string(scope.context().get("city").as_string()); });
  const auto both = node("both", [=](Scope& scope) -> Async<std::string> {
    co_await scope.call(puts);
    co_return co_await scope.call(gets);
  });
  EXPECT_EQ(session.call_sync(both), "Oslo");
  EXPECT_EQ(session.context().get("city"), Json("Oslo"));
}

// Case 81.
TEST_F(FlowScope, BatchReturnsResultsAndErrorsInTheOrderOfTheArguments) {
  const auto divide = node("divide", [](int a, int b) {
    if (b == 0) throw std::domain_error("by zero");
    return a / b;
  });
  const auto batch = node("batch", [divide](Scope& scope) -> Async<void> {
    const auto outcomes = co_await scope.call_batch(divide, {8, 7, 6, 5}, {2, 0, 3});
    EXPECT_EQ(outcomes.size(), 3U);
    EXPECT_EQ(*outcomes[0], 4);
    EXPECT_THROW(std::rethrow_exception(outcomes[1].error()), std::domain_error);
    EXPECT_EQ(*outcomes[2], 2);
  });
  session.call_sync(batch);
  EXPECT_EQ(session.info().graph.children(0).size(), 3U);
}

TEST_F(FlowScope, CallAllThrowsTheFirstErrorAndStopsTheOthers) {
  const auto step = node("step", [](int n) -> Async<int> {
    if (n == 2) throw std::domain_error("two");
    co_await wait_for_ever();
    co_return n;
  });
  const auto all = node("all", [step](Scope& scope) -> Async<std::vector<int>> {
    co_return co_await scope.call_all(step, {0, 1, 2, 3});
  });
  EXPECT_THROW(session.call_sync(all), std::domain_error);
  const Graph graph = session.info().graph;
  EXPECT_TRUE(graph.are_children_complete(0));
  EXPECT_EQ(graph.call(1).status(), CallStatus::failed);
}

TEST_F(FlowScope, RunsAtMostTheWidthOfABatchAtOnce) {
  int running = 0, most = 0;
  const auto step = node("step", [&](Scope& scope, int) -> Async<void> {
    most = std::max(most, ++running);
    SystemClock now;
    co_await sleep_until(now, now.instant());
    --running;
    EXPECT_FALSE(scope.is_cancelled());
  });
  const auto batch = node("batch", [step](Scope& scope) -> Async<void> {
    co_await scope.call_batch({.width = 3}, step, std::vector<int>(20));
  });
  session.call_sync(batch);
  EXPECT_EQ(most, 3);
}

// Case 82: on one thread as well, what waits does not hold up the others.
TEST_F(FlowScope, CallsOfABatchWaitAtTheSameTime) {
  int arrived = 0;
  Event all_here;
  const auto meet = node("meet", [&](int) -> Async<void> {
    if (++arrived == 150) {
      all_here.notify_all();
    } else {
      co_await all_here.wait();
    }
  });
  const auto batch =
      node("batch", [meet](Scope& scope) -> Async<void> { co_await scope.call_batch(meet, std::vector<int>(150)); });
  session.call_sync(batch);
  EXPECT_EQ(arrived, 150);
}

// Case 80, and the original's own ceiling of 45 x 23.
TEST_F(FlowScope, NestedFanOutsEndWithAllTheirErrors) {
  const auto fails = node("fails", [](int n) -> Async<int> {
    if (n % 2 == 1) throw std::runtime_error("odd");
    co_return n;
  });
  const auto inner = node("inner", [fails](Scope& scope, int) -> Async<int> {
    std::vector<int> numbers(23);
    std::iota(numbers.begin(), numbers.end(), 0);
    const auto outcomes = co_await scope.call_batch(fails, std::move(numbers));
    co_return static_cast<int>(std::ranges::count_if(outcomes, [](const auto& outcome) { return !outcome; }));
  });
  const auto outer = node("outer", [inner](Scope& scope) -> Async<int> {
    const auto counts = co_await scope.call_all(inner, std::vector<int>(45));
    co_return std::accumulate(counts.begin(), counts.end(), 0);
  });
  EXPECT_EQ(session.call_sync(outer), 45 * 11);
  EXPECT_EQ(session.info().graph.calls().size(), 1U + 45U + 45U * 23U);
}

// The nodes below an outer call, all waiting, on jobs within jobs.
Async<void> wait_below(Scope& scope, int levels);
const auto waiting = node("waiting", wait_below);
Async<void> wait_below(Scope& scope, int levels) {
  if (levels == 0) {
    co_await wait_for_ever();
  } else {
    co_await scope.call_batch(waiting, std::vector<int>(3, levels - 1));
  }
}

TEST_F(FlowScope, CancellationReachesTheWholeSubtree) {
  loop.run([](Session& in, ManualClock& with) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    group.spawn([](Session& s) -> Async<void> { EXPECT_THROW(co_await s.call(waiting, 3), Error); }(in));
    co_await settle(with);
    EXPECT_EQ(in.info().graph.open_tails().size(), 27U);
    group.cancel();
    co_await group.join();
  }(session, clock));
  for (const CallRecord& call : session.info().graph.calls()) EXPECT_EQ(call.status(), CallStatus::failed);
}

// A node that waits for a batch and for something else, whichever is first, as Asio's operators do it.
TEST_F(FlowScope, BatchThatItsNodeGivesUpEndsAndLosesItsResults) {
  const auto wait = node("wait", [](int) -> Async<int> {
    co_await wait_for_ever();
    co_return 0;
  });
  const auto impatient = node("impatient", [wait](Scope& scope) -> Async<std::string> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    std::string ended = "with results";
    group.spawn([](Scope& in, Node<int, int> step, std::string& how) -> Async<void> {
      try {
        co_await in.call_all(step, {1, 2, 3});
      } catch (const Error& error) {
        how = info(error.code()).name;
      }
    }(scope, wait, ended));
    SystemClock now;
    for (int i = 0; i < 20; ++i) co_await sleep_until(now, now.instant());
    group.cancel();
    co_await group.join();
    co_return ended;
  });
  EXPECT_EQ(session.call_sync(impatient), "cancelled");
  EXPECT_TRUE(session.info().graph.are_children_complete(0));
}

TEST_F(FlowScope, BeginsNoNodeOnceTheRunIsStopped) {
  int begun = 0;
  const auto counts = node("counts", [&begun] { ++begun; });
  const auto stubborn = node("stubborn", [counts](Scope& scope) -> Async<void> {
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    co_await scope.call(counts);
    while (!scope.is_cancelled()) {
      SystemClock now;
      co_await sleep_until(now, now.instant());
    }
    EXPECT_THROW(co_await scope.call(counts), Error);
  });
  loop.run([](Session& in, ManualClock& with, Node<void> called) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    group.spawn([](Session& s, Node<void> n) -> Async<void> { EXPECT_THROW(co_await s.call(std::move(n)), Error); }(
                                                 in, std::move(called)));
    co_await settle(with);
    group.cancel();
    co_await group.join();
  }(session, clock, stubborn));
  EXPECT_EQ(begun, 1);
}

Async<int> count_down(Scope& scope, int n);
const auto recursive = node("recursive", count_down);
Async<int> count_down(Scope& scope, int n) {
  co_return n == 0 ? 0 : 1 + co_await scope.call(recursive, n - 1);
}

TEST_F(FlowScope, CallsItselfTenThousandDeep) {
  EXPECT_EQ(session.call_sync(recursive, 10'000), 10'000);
  const Graph graph = session.info().graph;
  EXPECT_EQ(graph.calls().size(), 10'001U);
  EXPECT_EQ(graph.upstream(10'000).size(), 10'000U);
}

// Batches within batches, each on a job below the one of its caller.
Async<int> count_batches(Scope& scope, int n);
const auto batched = node("batched", count_batches);
Async<int> count_batches(Scope& scope, int n) {
  if (n == 0) co_return 0;
  const std::vector<int> below = co_await scope.call_all(batched, {n - 1});
  co_return 1 + below.front();
}

TEST_F(FlowScope, NestsBatchesTenThousandDeep) {
  EXPECT_EQ(session.call_sync(batched, 10'000), 10'000);
}

TEST(FlowScopeOnAPool, NestsBatchesTenThousandDeep) {
  ThreadPool pool(2);
  Session session(pool);
  EXPECT_EQ(session.call_sync(batched, 10'000), 10'000);
}

TEST_F(FlowScope, RefusesToGoDeeperWithoutEnd) {
  Session bare(one_thread, {.record = false});
  EXPECT_THAT(error_of([&] { bare.call_sync(recursive, 1'000'000); }),
              Pair(ErrorCode::too_large, HasSubstr("node \"recursive\" is 100000 calls deep")));
}

TEST(FlowScopeOnAPool, ComputesOnAllThreadsAtOnce) {
  ThreadPool pool(2);
  Session session(pool);
  std::latch both(2);
  const auto meet = node("meet", [&both](int) { both.arrive_and_wait(); });
  const auto batch =
      node("batch", [meet](Scope& scope) -> Async<void> { co_await scope.call_batch(meet, std::vector<int>(2)); });
  session.call_sync(batch);
}

TEST(FlowScopeOnAPool, LosesNothingInAFanOut) {
  ThreadPool pool(4);
  Session session(pool);
  const auto plain = node("plain", [](int n) { return n; });
  const auto waits = node("waits", [](Scope& scope, int n) -> Async<int> {
    co_await boost::asio::post(boost::asio::use_awaitable);
    scope.context().modify("n", [](Json count) { return Json(count.is_null() ? 1 : count.as_int64() + 1); });
    co_return n;
  });
  const auto both = node("both", [=](Scope& scope, std::vector<int> numbers) -> Async<bool> {
    const auto first = co_await scope.call_all(plain, numbers);
    const auto second = co_await scope.call_all(waits, numbers);
    co_return first == numbers&& second == numbers;
  });
  std::vector<int> numbers(2'000);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_TRUE(session.call_sync(both, numbers));
  EXPECT_EQ(session.context().get("n"), Json(2'000));
  const Graph graph = session.info().graph;
  EXPECT_EQ(graph.children(0).size(), 4'000U);
  EXPECT_TRUE(graph.are_children_complete(0));
}

TEST(FlowScopeOnAPool, StopsEverythingAtTheTimeOut) {
  ThreadPool pool(3);
  Session session(pool, {.timeout = Milliseconds(20)});
  const auto spin = node("spin", [](Scope& scope, int) {
    while (!scope.is_cancelled()) std::this_thread::yield();
  });
  const auto both =
      node("both", [spin](Scope& scope) -> Async<void> { co_await scope.call_batch(spin, std::vector<int>(10)); });
  for (int call = 0; call < 3; ++call) {
    try {
      call % 2 == 0 ? session.call_sync(both) : session.call_sync(waiting, 2);
      FAIL() << "it never ends by itself";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::call_timeout);
    }
  }
  EXPECT_EQ(session.info().running, 0U);
}

}  // namespace
}  // namespace sojourn::flow
