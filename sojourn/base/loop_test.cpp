#include "sojourn/base/loop.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <latch>
#include <thread>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/task_group.hpp"

namespace sojourn {
namespace {

Async<void> note(std::string& notes, std::string text) {
  notes += text;
  co_return;
}

Async<void> fail() {
  throw Error(ErrorCode::conflict, "on purpose");
  co_return;
}

TEST(Loop, RunsMainToItsEnd) {
  Loop loop;
  std::string notes;
  loop.run(note(notes, "a"));
  loop.run(note(notes, "b"));
  EXPECT_EQ(notes, "ab");
}

TEST(Loop, ThrowsWhatMainThrew) {
  Loop loop;
  EXPECT_THROW(loop.run(fail()), Error);
  std::string notes;
  loop.run(note(notes, "usable"));
  EXPECT_EQ(notes, "usable");
}

Async<void> sleep(std::string& notes) {
  SystemClock clock;
  co_await sleep_until(clock, clock.instant() + Milliseconds(1));
  notes += "slept";
}

TEST(Loop, StaysWhileMainWaits) {
  Loop loop;
  std::string notes;
  loop.run(sleep(notes));
  EXPECT_EQ(notes, "slept");
}

Async<void> compare_threads(BlockingPool& pool) {
  const auto mine = std::this_thread::get_id();
  const auto theirs = co_await pool.run([] { return std::this_thread::get_id(); });
  EXPECT_NE(theirs, mine);
  EXPECT_EQ(std::this_thread::get_id(), mine);
}

TEST(BlockingPool, RunsOnAThreadOfItsOwnAndResumesOnTheCallers) {
  Loop loop;
  BlockingPool pool(2);
  loop.run(compare_threads(pool));
}

Async<void> use_results(BlockingPool& pool) {
  bool ran = false;
  co_await pool.run([&] { ran = true; });
  EXPECT_TRUE(ran);
  const auto moved = co_await pool.run([] { return std::make_unique<int>(7); });
  EXPECT_EQ(*moved, 7);
  try {
    co_await pool.run([]() -> int { throw Error(ErrorCode::conflict, "from the pool"); });
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "from the pool");
  }
}

TEST(BlockingPool, HandsBackValuesAndErrors) {
  Loop loop;
  BlockingPool pool(1);
  loop.run(use_results(pool));
}

// Ends only when the other call runs too.
Async<void> meet(BlockingPool& pool, std::latch& both) {
  co_await pool.run([&] { both.arrive_and_wait(); });
}

Async<void> meet_in_parallel(Loop& loop, BlockingPool& pool) {
  std::latch both(2);
  TaskGroup group(loop.executor());
  group.spawn(meet(pool, both));
  group.spawn(meet(pool, both));
  co_await group.join();
}

TEST(BlockingPool, RunsCallsAtTheSameTime) {
  Loop loop;
  BlockingPool pool(2);
  loop.run(meet_in_parallel(loop, pool));
}

Async<void> write_late(BlockingPool& pool, std::latch& begun, std::latch& go_on, std::string& notes) {
  std::string local;
  co_await pool.run([&] {
    begun.count_down();
    go_on.wait();
    local = "written";
  });
  notes = local;
}

Async<void> cancel_while_it_works(Loop& loop, BlockingPool& pool) {
  std::latch begun(1);
  std::latch go_on(1);
  std::string notes;
  TaskGroup group(loop.executor());
  group.spawn(write_late(pool, begun, go_on, notes));
  while (!begun.try_wait()) co_await boost::asio::post(boost::asio::use_awaitable);
  group.cancel();
  for (int i = 0; i < 20; ++i) co_await boost::asio::post(boost::asio::use_awaitable);
  EXPECT_EQ(group.size(), 1u);
  go_on.count_down();
  co_await group.join();
  EXPECT_EQ(notes, "written");
}

TEST(BlockingPool, IsWaitedForByACancelledCaller) {
  Loop loop;
  BlockingPool pool(1);
  loop.run(cancel_while_it_works(loop, pool));
}

Async<void> call_often(BlockingPool& pool, std::atomic<int>& sum) {
  for (int i = 0; i < 200; ++i) sum += co_await pool.run([] { return 1; });
}

Async<void> call_often_from_many(Loop& loop, BlockingPool& pool, std::atomic<int>& sum) {
  TaskGroup group(loop.executor());
  for (int i = 0; i < 8; ++i) group.spawn(call_often(pool, sum));
  co_await group.join();
}

TEST(BlockingPool, ServesSeveralLoops) {
  std::atomic<int> sum = 0;
  Loop first;
  Loop second;
  BlockingPool pool(3);
  std::thread other([&] { second.run(call_often_from_many(second, pool, sum)); });
  first.run(call_often_from_many(first, pool, sum));
  other.join();
  EXPECT_EQ(sum, 2 * 8 * 200);
}

}  // namespace
}  // namespace sojourn
