#include "sojourn/flow/crossing.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <latch>
#include <semaphore>

#include "sojourn/flow/flow_fixture_test.hpp"

namespace sojourn::flow {
namespace {

TEST(FlowCrossing, ReachesNoExecutorThatIsLeft) {
  boost::asio::io_context home;
  const auto awaited = std::make_shared<Crossing>(home.get_executor(), 1);
  awaited->arrive(nullptr);
  EXPECT_EQ(home.poll(), 1U);
  home.restart();
  const auto left = std::make_shared<Crossing>(home.get_executor(), 1);
  {
    const CrossingPlace place(left);
  }
  left->arrive(nullptr);
  EXPECT_EQ(home.poll(), 0U);
}

// The node of an abandoned call ended on a loop that was no more.
TEST(FlowCrossing, NodeThatIsStuckOutlivesTheLoopThatCalledIt) {
  ManualClock clock;
  std::latch begun(1);
  std::binary_semaphore door(0);
  ThreadPool pool(1);
  const auto stuck = node("stuck", [&] {
    begun.count_down();
    door.acquire();
  });
  auto session = std::make_unique<Session>(pool, clock, Settings{.timeout = Seconds(5)});
  {
    Loop loop;
    const auto call = [](Session& in, Node<void> called, ManualClock& with, std::latch& runs) -> Async<void> {
      TaskGroup group(co_await boost::asio::this_coro::executor);
      group.spawn([](Session& s, Node<void> n) -> Async<void> { EXPECT_THROW(co_await s.call(n), Error); }(
                                                   in, std::move(called)));
      co_await settle(with);
      runs.wait();
      with.advance(Seconds(5));
      co_await settle(with);
      with.advance(in.config().grace);
      co_await group.join();
    };
    loop.run(call(*session, stuck, clock, begun));
  }
  door.release();
  session.reset();
}

}  // namespace
}  // namespace sojourn::flow
