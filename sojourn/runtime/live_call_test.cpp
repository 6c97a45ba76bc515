#include "sojourn/runtime/live_call.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/limits.hpp"

namespace sojourn::runtime {

namespace {

LiveCall any_call() {
  return LiveCall({}, "app", nullptr, "me", std::chrono::seconds(1));
}

TEST(LiveCall, KeepsTheNewestUpdatesForASlowFollower) {
  LiveCall call = any_call();
  for (int i = 1; i <= 3'000; ++i) call.publish(Update::Kind::partial, std::to_string(i));
  const std::deque<Update> kept = call.updates_after(0);
  EXPECT_EQ(kept.size(), 1'024u);
  EXPECT_EQ(kept.back().text, "3000");
  EXPECT_EQ(kept.front().seq, 3'000u - 1'024u + 1);
}

TEST(LiveCall, KeepsNoMoreBytesOfUpdatesThanItsBoundButAlwaysTheNewest) {
  LiveCall call = any_call();
  const std::string large(6 * limits::mebibyte, 'x');
  for (int i = 0; i < 10; ++i) call.publish(Update::Kind::delta, large);
  EXPECT_EQ(call.updates_after(0).size(), 2u);
  call.publish(Update::Kind::delta, std::string(17 * limits::mebibyte, 'x'));
  EXPECT_EQ(call.updates_after(0).size(), 1u);
}

}  // namespace

}  // namespace sojourn::runtime
