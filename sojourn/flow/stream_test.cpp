#include <gmock/gmock.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <latch>
#include <thread>

#include "sojourn/flow/flow_fixture_test.hpp"

// Calls whose answers come in chunks.
namespace sojourn::flow {
namespace {

using testing::ElementsAre;

// Says each word, and returns how many they were.
const auto speak = node("speak", [](Scope& scope, std::vector<std::string> words) -> Async<int> {
  for (const std::string& word : words) {
    co_await boost::asio::post(boost::asio::use_awaitable);
    scope.emit(Json(word));
  }
  co_return static_cast<int>(words.size());
});

class FlowStream : public FlowTest {
 protected:
  static OnChunk into(std::vector<std::string>& words) {
    return [&words](const Json& chunk) { words.emplace_back(chunk.as_string()); };
  }

  std::vector<std::string> heard;
};

// Case 85.
TEST_F(FlowStream, ChunksComeInOrderAndThenTheResult) {
  Session session(one_thread);
  EXPECT_EQ(session.call_sync({.on_chunk = into(heard)}, speak, {"one", "two", "three"}), 3);
  EXPECT_THAT(heard, ElementsAre("one", "two", "three"));
}

TEST_F(FlowStream, TheResultAloneMayBeAwaited) {
  Session session(one_thread);
  EXPECT_EQ(session.call_sync(speak, {"one", "two"}), 2);
  EXPECT_EQ(session.call_sync(CallOptions(), speak, {"one"}), 1);
}

TEST_F(FlowStream, TwoCallsAtTheSameTimeHaveTheirOwnChunks) {
  std::vector<std::string> others;
  Session session(one_thread, clock, {});
  const auto both = [](Session& in, OnChunk one, OnChunk two) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    const auto say = [](Session& s, OnChunk take, std::vector<std::string> words) -> Async<void> {
      EXPECT_EQ(co_await s.call({.on_chunk = std::move(take)}, speak, words), 2);
    };
    group.spawn(say(in, std::move(one), {"a", "b"}));
    group.spawn(say(in, std::move(two), {"c", "d"}));
    co_await group.join();
  };
  loop.run(both(session, into(heard), into(others)));
  EXPECT_THAT(heard, ElementsAre("a", "b"));
  EXPECT_THAT(others, ElementsAre("c", "d"));
}

TEST_F(FlowStream, ANodeTakesTheChunksOfWhatItCallsAndPassesOnWhatItWants) {
  const auto loud = node("loud", [](Scope& scope) -> Async<int> {
    EXPECT_TRUE(scope.is_streamed());
    const int quiet = co_await scope.call(speak, std::vector<std::string>{"nobody hears this"});
    co_return quiet +
        co_await scope.call(
            {.on_chunk = [&scope](const Json& chunk) { scope.emit(Json(std::string(chunk.as_string()) + "!")); }},
            speak, std::vector<std::string>{"hey", "you"});
  });
  Session session(one_thread);
  EXPECT_EQ(session.call_sync({.on_chunk = into(heard)}, loud), 3);
  EXPECT_THAT(heard, ElementsAre("hey!", "you!"));
}

TEST_F(FlowStream, WhatTheTakerThrowsFailsTheNode) {
  Session session(one_thread);
  EXPECT_THROW(
      session.call_sync({.on_chunk = [](const Json&) { throw std::domain_error("enough"); }}, speak, {"one", "two"}),
      std::domain_error);
  EXPECT_EQ(session.info().graph.call(0).failure->message, "enough");
}

// A run that does not stop when it is told to is left alone, and what it says then reaches nobody.
TEST(FlowStreamOnAPool, NothingReachesATakerWhoseCallIsOver) {
  ThreadPool pool(1);
  std::latch begun(1), door(1), over(1);
  std::vector<Json> chunks;
  const auto stuck = node("stuck", [&](Scope& scope) {
    scope.emit("before");
    begun.count_down();
    door.wait();
    scope.emit("after");
    over.count_down();
  });
  {
    Session session(pool, {.timeout = Seconds(3'600), .grace = Milliseconds(1)});
    std::jthread caller([&] {
      EXPECT_THROW(session.call_sync({.on_chunk = [&](const Json& chunk) { chunks.push_back(chunk); }}, stuck),
                   Error);
    });
    begun.wait();
    session.cancel();
    caller.join();
  }
  door.count_down();
  over.wait();
  EXPECT_THAT(chunks, ElementsAre(Json("before")));
}

}  // namespace
}  // namespace sojourn::flow
