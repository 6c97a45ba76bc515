#include "sojourn/device/session_errors.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"

namespace sojourn::device {

namespace {

using testing::ElementsAre;

TEST(SessionError, SaysWhetherANewSessionMaySucceed) {
  EXPECT_TRUE(SessionError(ErrorCode::worker_leased, "leased").is_recoverable());
  EXPECT_TRUE(SessionError(ErrorCode::too_many_sessions, "many").is_recoverable());
  EXPECT_FALSE(SessionError(ErrorCode::session_ended, "over", "s1").is_recoverable());
  EXPECT_FALSE(SessionError(ErrorCode::session_not_found, "none").is_recoverable());
  EXPECT_EQ(SessionError(ErrorCode::session_ended, "over", "s1").session_id(), "s1");
}

TEST(ResourceCleanupError, HasEveryFailure) {
  const ResourceCleanupError error(JsonArray{JsonObject{{"id", "a"}}, JsonObject{{"id", "b"}}});
  EXPECT_EQ(error.code(), ErrorCode::cleanup_failed);
  EXPECT_EQ(error.failures().size(), 2u);
  EXPECT_EQ(error.failures().at(1).at("id"), Json("b"));
}

// An operation that notes when it is tried, and time that passes a second at a time until it is over.
class WithRetryTest : public testing::Test {
 public:
  std::vector<std::int64_t> seconds_until_it_gives_up(ErrorCode code, Retry retry) {
    loop.run(run(*this, code, retry));
    return tried;
  }

 private:
  static Async<void> run(WithRetryTest& test, ErrorCode code, Retry retry) {
    TaskGroup group(test.loop.executor());
    group.spawn(give_up(test, code, retry));
    for (int second = 0; second < 60 && !test.gave_up; ++second) {
      for (int i = 0; i < 10; ++i) co_await sleep_until(test.real, test.real.instant());
      test.clock.advance(Seconds(1));
    }
    co_await group.join();
  }
  static Async<void> give_up(WithRetryTest& test, ErrorCode code, Retry retry) {
    const Instant start = test.clock.instant();
    const std::function<Async<int>()> operation = [&] { return fail(test, code, start); };
    try {
      co_await with_retry(test.clock, retry, operation);
      ADD_FAILURE() << "succeeded";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
    }
    test.gave_up = true;
  }
  static Async<int> fail(WithRetryTest& test, ErrorCode code, Instant start) {
    test.tried.push_back(std::chrono::duration_cast<Seconds>(test.clock.instant() - start).count());
    throw Error(code, "not yet");
    co_return 0;
  }

  Loop loop;
  SystemClock real;
  ManualClock clock;
  std::vector<std::int64_t> tried;
  bool gave_up = false;
};

TEST_F(WithRetryTest, WaitsTwiceAsLongEachTime) {
  EXPECT_THAT(seconds_until_it_gives_up(ErrorCode::unavailable, {.attempts = 4}), ElementsAre(0, 2, 6, 14));
}

TEST_F(WithRetryTest, TriesThreeTimesWhereNothingElseIsAsked) {
  EXPECT_THAT(seconds_until_it_gives_up(ErrorCode::unavailable, {}), ElementsAre(0, 2, 6));
}

TEST_F(WithRetryTest, DoesNotTryAgainWhatCannotSucceed) {
  EXPECT_THAT(seconds_until_it_gives_up(ErrorCode::invalid_request, {}), ElementsAre(0));
}

}  // namespace

}  // namespace sojourn::device
