#include "sojourn/worker/crash_breaker.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"

namespace sojourn::worker {

namespace {

class CrashBreakerTest : public testing::Test {
 protected:
  // What starting a worker is refused with, or "".
  std::string refusal() const {
    try {
      breaker.check("shaky");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unavailable);
      EXPECT_TRUE(error.retryable());
      return error.message();
    }
    return "";
  }

  ManualClock clock;
  CrashBreaker breaker{clock, 3};
};

TEST_F(CrashBreakerTest, RefusesWhenAsManyWereLostWithinAMinute) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(refusal(), "");
    clock.advance(Seconds(10));
    breaker.note_loss();
  }
  EXPECT_EQ(refusal(),
            "app shaky: 3 of its workers were lost within 60 s, so none is started for 40 s (crashes_per_minute)");
}

TEST_F(CrashBreakerTest, LetsOneTryWhenTheOldestLossIsAMinuteOld) {
  breaker.note_loss();
  clock.advance(Seconds(30));
  breaker.note_loss();
  breaker.note_loss();
  clock.advance(Seconds(30));
  EXPECT_EQ(refusal(), "");
  breaker.note_loss();
  EXPECT_NE(refusal(), "");
  clock.advance(Seconds(30));
  EXPECT_EQ(refusal(), "");
}

TEST_F(CrashBreakerTest, DoesNotMindLossesThatLieApart) {
  for (int i = 0; i < 20; ++i) {
    breaker.note_loss();
    clock.advance(Seconds(30));
    EXPECT_EQ(refusal(), "");
  }
}

TEST_F(CrashBreakerTest, NeverRefusesWhereNothingWasAsked) {
  CrashBreaker none(clock, 0);
  for (int i = 0; i < 100; ++i) none.note_loss();
  EXPECT_NO_THROW(none.check("shaky"));
}

}  // namespace

}  // namespace sojourn::worker
