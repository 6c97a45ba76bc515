#include "sojourn/server/refusal_log.hpp"

#include <gmock/gmock.h>

namespace sojourn::server {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class RefusalLogTest : public testing::Test {
 protected:
  // What the log gets of a refusal, `later` than what was before.
  std::string told(ErrorCode code, Microseconds later) {
    clock_.advance(later);
    testing::internal::CaptureStderr();
    refusals_.tell(Error(code, "the disk of the moon"));
    return testing::internal::GetCapturedStderr();
  }

  ManualClock clock_;
  Log log_;
  RefusalLog refusals_{clock_, log_};
};

TEST_F(RefusalLogTest, TellsOnceAMinuteWhileItLasts) {
  EXPECT_THAT(told(ErrorCode::store_full, Seconds(0)), HasSubstr("the disk of the moon"));
  EXPECT_THAT(told(ErrorCode::store_full, Seconds(1)), IsEmpty());
  EXPECT_THAT(told(ErrorCode::store_full, Seconds(58)), IsEmpty());
  EXPECT_THAT(told(ErrorCode::store_full, Seconds(1)), HasSubstr("store_full"));
  EXPECT_THAT(told(ErrorCode::store_full, Seconds(59)), IsEmpty());
}

TEST_F(RefusalLogTest, TellsAnotherReasonAtOnce) {
  told(ErrorCode::store_full, Seconds(0));
  EXPECT_THAT(told(ErrorCode::store_read_only, Seconds(1)), HasSubstr("store_read_only"));
}

}  // namespace
}  // namespace sojourn::server
