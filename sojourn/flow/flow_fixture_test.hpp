#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/flow/session.hpp"

// Words for tests of flows on one thread, with a clock that is turned by hand.
namespace sojourn::flow {

// Tests say what they want saved and logged, and where.
inline const bool is_quiet = [] {
  set_config({.logging_setting = LoggingSetting::none, .save_state = false});
  return true;
}();

class FlowTest : public testing::Test {
 protected:
  // The code and message of what `action` throws.
  static std::pair<ErrorCode, std::string> error_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return {error.code(), error.message()};
    }
    ADD_FAILURE() << "it did not fail";
    return {};
  }

  Loop loop;
  ManualClock clock;
  OneThread one_thread{loop};
};

// Ends only when it is cancelled.
inline Async<void> wait_for_ever() {
  Event never;
  co_await never.wait();
}

// Lets everything that is ready run.
inline Async<void> settle(ManualClock& clock) {
  for (int i = 0; i < 50; ++i) co_await sleep_until(clock, clock.instant());
}

}  // namespace sojourn::flow
