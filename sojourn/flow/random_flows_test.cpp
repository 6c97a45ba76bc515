#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <random>
#include <thread>
#include <tuple>

#include "sojourn/flow/flow_fixture_test.hpp"

// Flows of any shape, held against a model that computes the same by plain function calls. A failure names its seed.
namespace sojourn::flow {
namespace {

// What one node does follows from a number alone, so that the model needs no more than the flow was given.
struct Plan {
  explicit Plan(std::uint64_t seed) : random(seed) {}

  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }
  std::uint64_t next() { return random(); }

  std::mt19937_64 random;
};

enum class Shape { leaf, fails, in_turn, batch, all, waits };

Shape shape_of(Plan& plan, int depth) {
  if (depth == 0) return plan.below(5) == 0 ? Shape::fails : Shape::leaf;
  return static_cast<Shape>(plan.below(6));
}

std::uint64_t mixed(std::uint64_t into, std::uint64_t value) {
  return (into ^ value) * 0x9e3779b97f4a7c15;
}

// The value of a node, or nothing where it fails; and how many calls it makes, itself among them, at least and at
// most: a batch that stops at its first error may have begun any of the others.
struct Expectation {
  std::optional<std::uint64_t> value;
  std::size_t calls = 1;
  bool is_exact = true;
};

Expectation expected(std::uint64_t seed, int depth) {
  Plan plan(seed);
  const Shape shape = shape_of(plan, depth);
  if (shape == Shape::fails) return {};
  Expectation is{.value = seed};
  if (shape == Shape::leaf || shape == Shape::waits) return is;
  const unsigned width = 1 + plan.below(4);
  std::vector<std::uint64_t> seeds(width);
  std::ranges::generate(seeds, [&] { return plan.next(); });
  bool has_failed = false;
  for (const std::uint64_t child : seeds) {
    const Expectation below = expected(child, depth - 1);
    is.calls += below.calls;
    is.is_exact = is.is_exact && below.is_exact;
    is.value = mixed(*is.value, below.value.value_or(0));
    has_failed = has_failed || !below.value;
  }
  if (shape == Shape::all && has_failed) is.value.reset(), is.is_exact = false;
  return is;
}

struct Nodes {
  static Async<std::uint64_t> step(Scope& scope, std::uint64_t seed, int depth);
};
const auto any_node = node("any", &Nodes::step);

Async<std::uint64_t> called_in_turn(Scope& scope, std::uint64_t value, std::vector<std::uint64_t> seeds, int depth) {
  for (const std::uint64_t child : seeds) {
    std::uint64_t came = 0;
    try {
      came = co_await scope.call(any_node, child, depth);
    } catch (const std::domain_error&) {
      // As it was drawn; the parent goes on with nothing.
    }
    value = mixed(value, came);
  }
  co_return value;
}

Async<std::uint64_t> Nodes::step(Scope& scope, std::uint64_t seed, int depth) {
  Plan plan(seed);
  const Shape shape = shape_of(plan, depth);
  if (shape == Shape::fails) throw std::domain_error(std::to_string(seed));
  if (shape == Shape::leaf) co_return seed;
  if (shape == Shape::waits) {
    for (unsigned turns = plan.below(20); turns > 0; --turns) co_await boost::asio::post(boost::asio::use_awaitable);
    co_return seed;
  }
  const unsigned width = 1 + plan.below(4);
  std::vector<std::uint64_t> seeds(width);
  std::ranges::generate(seeds, [&] { return plan.next(); });
  if (shape == Shape::in_turn) co_return co_await called_in_turn(scope, seed, std::move(seeds), depth - 1);
  std::uint64_t value = seed;
  const std::vector<int> depths(width, depth - 1);
  const BatchOptions options{.width = 1 + plan.below(4)};
  if (shape == Shape::batch) {
    for (const auto& outcome : co_await scope.call_batch(options, any_node, seeds, depths)) {
      value = mixed(value, outcome.value_or(0));
    }
  } else {
    for (const std::uint64_t came : co_await scope.call_all(options, any_node, seeds, depths)) {
      value = mixed(value, came);
    }
  }
  co_return value;
}

std::vector<std::uint64_t> children_of(std::uint64_t seed, Shape& shape, int depth) {
  Plan plan(seed);
  shape = shape_of(plan, depth);
  std::vector<std::uint64_t> seeds;
  if (shape != Shape::in_turn && shape != Shape::batch && shape != Shape::all) return seeds;
  seeds.resize(1 + plan.below(4));
  std::ranges::generate(seeds, [&] { return plan.next(); });
  return seeds;
}

// What holds of every record of these flows, at its end: each call is over, began after its caller and ended before
// it; those called in turn are the plan's, in its order, and none begins before the one before has ended.
void check_record(const Graph& graph) {
  for (const CallRecord& call : graph.calls()) {
    ASSERT_TRUE(call.finished) << call.id;
    ASSERT_LT(call.created.step, call.finished->step);
    if (call.caller) {
      const CallRecord& caller = graph.call(*call.caller);
      ASSERT_LT(caller.created.step, call.created.step);
      ASSERT_GT(caller.finished->step, call.finished->step);
    }
    const Json arguments = parse_json(*call.input);
    Shape shape = Shape::leaf;
    const std::vector<std::uint64_t> plan = children_of(boost::json::value_to<std::uint64_t>(arguments.at(0)), shape,
                                                        boost::json::value_to<int>(arguments.at(1)));
    const auto children = graph.children(call.id);
    ASSERT_LE(children.size(), plan.size());
    if (shape != Shape::in_turn) continue;
    for (std::size_t i = 0; i < children.size(); ++i) {
      const CallRecord& child = graph.call(children[i]);
      ASSERT_EQ(boost::json::value_to<std::uint64_t>(parse_json(*child.input).at(0)), plan[i]);
      if (i > 0) ASSERT_GT(child.created.step, graph.call(children[i - 1]).finished->step);
    }
  }
  // Every step is taken once.
  const std::vector<Stamp> stamps = graph.stamps();
  ASSERT_EQ(stamps.size(), 2 * graph.calls().size());
  for (std::size_t step = 0; step < stamps.size(); ++step) ASSERT_EQ(stamps[step].step, step);
}

void check_flows(Strategy& strategy, std::uint64_t first_seed) {
  for (std::uint64_t seed = first_seed; seed < first_seed + 60 && !testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    constexpr int depth = 5;
    const Expectation is = expected(seed, depth);
    Session session(strategy);
    std::optional<std::uint64_t> value;
    try {
      value = session.call_sync(any_node, seed, depth);
    } catch (const std::domain_error&) {
      // Then there is no value to expect either.
    }
    ASSERT_EQ(value, is.value);
    const Graph graph = session.info().graph;
    if (is.is_exact) ASSERT_EQ(graph.calls().size(), is.calls);
    ASSERT_LE(graph.calls().size(), is.calls);
    ASSERT_EQ(graph.call(0).status(), is.value ? CallStatus::completed : CallStatus::failed);
    check_record(graph);
  }
}

class RandomFlows : public FlowTest {
 protected:
  const std::uint64_t seed = std::random_device()();
};

TEST_F(RandomFlows, ComeToWhatTheirModelComesToOnOneThread) {
  check_flows(one_thread, seed);
}

TEST_F(RandomFlows, ComeToWhatTheirModelComesToOnManyThreads) {
  ThreadPool pool(3);
  check_flows(pool, seed);
}

// The same flow on one thread is the same record, step by step.
TEST_F(RandomFlows, GoTheSameWayEveryTimeOnOneThread) {
  const auto story = [this](std::uint64_t of) {
    std::vector<std::tuple<std::uint32_t, std::uint32_t, std::string>> calls;
    Session session(one_thread);
    try {
      session.call_sync(any_node, of, 5);
    } catch (const std::domain_error&) {
      // The story is told all the same.
    }
    const Graph graph = session.info().graph;
    for (const CallRecord& call : graph.calls()) {
      calls.emplace_back(call.created.step, call.finished->step, *call.input);
    }
    return calls;
  };
  for (std::uint64_t i = 0; i < 20; ++i) ASSERT_EQ(story(seed + i), story(seed + i)) << "seed " << seed + i;
}

// Whether the run was stopped before its end; from then on none of its nodes begins.
Async<bool> call_and_cancel(Session& session, std::uint64_t seed, unsigned turns, bool by_caller) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  group.spawn([](Session& in, std::uint64_t with) -> Async<void> {
    try {
      co_await in.call(any_node, with, 5);
    } catch (const std::exception&) {
      // It fails by itself or was cancelled.
    }
  }(session, seed));
  for (; turns > 0; --turns) co_await boost::asio::post(boost::asio::use_awaitable);
  const bool runs = session.info().running > 0;
  const std::size_t begun = session.info().graph.calls().size();
  by_caller ? group.cancel() : session.cancel();
  co_await group.join();
  if (runs && !by_caller) EXPECT_EQ(session.info().graph.calls().size(), begun);
  co_return runs;
}

// Cancelled after any number of turns: nothing runs any more, every call that began is over, and none begins later.
TEST_F(RandomFlows, EndWholeWhereverTheyAreCancelled) {
  std::mt19937_64 random(seed);
  int stopped = 0;
  for (int round = 0; round < 400 && !HasFailure(); ++round) {
    const std::uint64_t flow = random();
    const auto turns = static_cast<unsigned>(random() % 60);
    SCOPED_TRACE(testing::Message() << "seed " << flow << ", cancelled after " << turns << " turns");
    Session session(one_thread, clock, {});
    loop.run([](Session& in, std::uint64_t with, unsigned after, bool by_caller, int& count) -> Async<void> {
      if (co_await call_and_cancel(in, with, after, by_caller)) ++count;
    }(session, flow, turns, round % 2 == 0, stopped));
    ASSERT_EQ(session.info().running, 0U);
    const Graph graph = session.info().graph;
    if (!graph.empty()) check_record(graph);
    loop.run(settle(clock));
    ASSERT_EQ(session.info().graph.calls().size(), graph.calls().size());
    ASSERT_EQ(session.call_sync(node("after", [] { return 1; })), 1);
  }
  EXPECT_GT(stopped, 20);
}

TEST_F(RandomFlows, EndWholeWhereverTheyAreCancelledOnManyThreads) {
  ThreadPool pool(3);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60 && !HasFatalFailure(); ++round) {
    const std::uint64_t flow = random();
    SCOPED_TRACE(testing::Message() << "seed " << flow);
    Session session(pool);
    std::atomic<bool> over = false;
    std::jthread canceller([&, spins = random() % 2'000] {
      for (std::uint64_t i = 0; i < spins && !over; ++i) std::this_thread::yield();
      session.cancel();
    });
    try {
      session.call_sync(any_node, flow, 5);
    } catch (const std::exception&) {
      // It fails by itself or was cancelled.
    }
    over = true;
    canceller.join();
    ASSERT_EQ(session.info().running, 0U);
    const Graph graph = session.info().graph;
    if (!graph.empty()) check_record(graph);
  }
}

}  // namespace
}  // namespace sojourn::flow
