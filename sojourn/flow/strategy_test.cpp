#include "sojourn/flow/strategy.hpp"

#include <gmock/gmock.h>

#include "sojourn/flow/flow_fixture_test.hpp"

namespace sojourn::flow {
namespace {

using FlowStrategy = FlowTest;

// Nested runs of one loop would end each other.
TEST_F(FlowStrategy, OneThreadRefusesToBlockItsLoopWhoeverRunsIt) {
  Session session(one_thread);
  const auto twice = node("twice", [](int n) { return 2 * n; });
  const auto blocks = node("blocks", [&] { return session.call_sync(twice, 1); });
  EXPECT_EQ(error_of([&] { session.call_sync(blocks); }).first, ErrorCode::invalid_request);
  const auto awaits = [](Session& in, Node<int> called) -> Async<void> { co_await in.call(std::move(called)); };
  EXPECT_EQ(error_of([&] { loop.run(awaits(session, blocks)); }).first, ErrorCode::invalid_request);
  EXPECT_EQ(session.call_sync(twice, 1), 2);
}

}  // namespace
}  // namespace sojourn::flow
