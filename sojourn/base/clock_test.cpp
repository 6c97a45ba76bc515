#include "sojourn/base/clock.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "sojourn/base/error.hpp"

namespace sojourn {
namespace {

TEST(Time, IsWrittenAsRfc3339) {
  EXPECT_EQ(format_time(Time(Microseconds(0))), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(format_time(Time(Microseconds(1'795'253'400'123'456))), "2026-11-21T09:30:00.123456Z");
  EXPECT_EQ(format_time(Time(Microseconds(-1))), "1969-12-31T23:59:59.999999Z");
}

TEST(Time, IsReadAsItIsWritten) {
  for (const std::string_view text :
       {"1970-01-01T00:00:00.000000Z", "2026-11-21T09:30:00.123456Z", "2024-02-29T23:59:59.999999Z"}) {
    EXPECT_EQ(format_time(parse_time(text)), text);
  }
}

TEST(Time, MayHaveFewerFractionalDigits) {
  EXPECT_EQ(parse_time("2026-11-21T09:30:00Z"), parse_time("2026-11-21T09:30:00.000000Z"));
  EXPECT_EQ(parse_time("2026-11-21T09:30:00.5Z"), parse_time("2026-11-21T09:30:00.500000Z"));
}

TEST(Time, MayHaveMoreFractionalDigitsOfWhichSixCount) {
  EXPECT_EQ(parse_time("2026-11-21T09:30:00.1234569Z"), parse_time("2026-11-21T09:30:00.123456Z"));
  EXPECT_EQ(parse_time("2026-11-21T09:30:00.123456789012345Z"), parse_time("2026-11-21T09:30:00.123456Z"));
}

TEST(Time, MayBeGivenInAnotherZone) {
  EXPECT_EQ(parse_time("2026-11-21T09:30:00+01:00"), parse_time("2026-11-21T08:30:00Z"));
  EXPECT_EQ(parse_time("2026-12-31T20:30:00.5-05:45"), parse_time("2027-01-01T02:15:00.5Z"));
}

TEST(Time, SaysWhenTheZoneIsMissing) {
  try {
    parse_time("2026-11-21T09:30:00");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("names no time zone"), std::string::npos) << error.message();
  }
}

TEST(Time, IsRefusedInAnyOtherShape) {
  for (const std::string_view text : {"",
                                      "now",
                                      "2026-11-21",
                                      "2026-11-21T09:30:00",
                                      "2026-11-21 09:30:00Z",
                                      "2026-11-21T09:30Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-11-21T24:00:00Z",
                                      "2026-11-21T09:60:00Z",
                                      "2026-11-21T09:30:60Z",
                                      "2026-11-21T09:30:00.Z",
                                      "2026-11-21T09:30:00+0100",
                                      "2026-11-21T09:30:00+24:00",
                                      "2026-11-21T09:30:00+01:60",
                                      "2026-11-21T09:30:00 +01:00",
                                      "2026-11-21T09:30:00Zx",
                                      "2026-11-21T09:30:00+01:00Z",
                                      "+026-11-21T09:30:00Z",
                                      "2026-11-2\xFFT09:30:00Z"}) {
    try {
      parse_time(text);
      ADD_FAILURE() << "accepted " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_request);
      EXPECT_TRUE(is_valid_utf8(error.message()));
    }
  }
}

class Alarms : public testing::Test {
 protected:
  std::unique_ptr<Alarm> set(Seconds after, std::string name) {
    return clock_.set_alarm(clock_.instant() + after, context_.get_executor(), [this, name] { rung_ += name; });
  }
  void run() {
    context_.restart();
    context_.run();
  }

  boost::asio::io_context context_;
  ManualClock clock_;
  std::string rung_;
};

TEST_F(Alarms, RingInTheOrderOfTheirTimes) {
  const auto c = set(Seconds(3), "c");
  const auto a = set(Seconds(1), "a");
  const auto b = set(Seconds(2), "b");
  clock_.advance(Seconds(10));
  run();
  EXPECT_EQ(rung_, "abc");
}

TEST_F(Alarms, RingInTheOrderTheyWereSetForTheSameTime) {
  const auto a = set(Seconds(1), "a");
  const auto b = set(Seconds(1), "b");
  clock_.advance(Seconds(1));
  run();
  EXPECT_EQ(rung_, "ab");
}

TEST_F(Alarms, RingNotBeforeTheirTime) {
  const auto a = set(Seconds(2), "a");
  clock_.advance(Seconds(2) - Microseconds(1));
  run();
  EXPECT_EQ(rung_, "");
  clock_.advance(Microseconds(1));
  run();
  EXPECT_EQ(rung_, "a");
  clock_.advance(Seconds(10));
  run();
  EXPECT_EQ(rung_, "a");
}

TEST_F(Alarms, RingFromTheQueueWhenTheirTimeIsPast) {
  const auto a = set(Seconds(-1), "a");
  EXPECT_EQ(rung_, "");
  run();
  EXPECT_EQ(rung_, "a");
}

TEST_F(Alarms, AreDisarmedByDestroyingThem) {
  set(Seconds(1), "dropped");
  auto due = set(Seconds(1), "dropped when already due");
  clock_.advance(Seconds(1));
  due.reset();
  run();
  EXPECT_EQ(rung_, "");
}

TEST_F(Alarms, MayBeDestroyedByTheirOwnAction) {
  std::unique_ptr<Alarm> alarm;
  alarm = clock_.set_alarm(clock_.instant() + Seconds(1), context_.get_executor(), [this, &alarm] {
    alarm.reset();
    rung_ += "a";
    alarm = set(Seconds(1), "b");
  });
  clock_.advance(Seconds(1));
  run();
  clock_.advance(Seconds(1));
  run();
  EXPECT_EQ(rung_, "ab");
}

TEST_F(Alarms, MayOutliveTheirClock) {
  auto clock = std::make_unique<ManualClock>();
  const auto alarm = clock->set_alarm(clock->instant() + Seconds(1), context_.get_executor(), [] {});
  clock.reset();
}

TEST(ManualClock, MovesBothItsClocks) {
  ManualClock clock;
  const Time wall = clock.now();
  const Instant instant = clock.instant();
  clock.advance(Seconds(5));
  EXPECT_EQ(clock.now() - wall, Seconds(5));
  EXPECT_EQ(clock.instant() - instant, Seconds(5));
}

TEST(ManualClock, SetsItsWallClockApart) {
  ManualClock clock;
  const Instant instant = clock.instant();
  clock.set_wall(parse_time("2020-01-01T00:00:00Z"));
  EXPECT_EQ(format_time(clock.now()), "2020-01-01T00:00:00.000000Z");
  EXPECT_EQ(clock.instant(), instant);
}

TEST(SystemClock, RingsAnAlarmAndForgetsADestroyedOne) {
  boost::asio::io_context context;
  SystemClock clock;
  int rung = 0;
  clock.set_alarm(clock.instant(), context.get_executor(), [&] { rung += 100; });
  std::unique_ptr<Alarm> alarm;
  alarm = clock.set_alarm(clock.instant() + Milliseconds(1), context.get_executor(), [&] {
    alarm.reset();
    ++rung;
  });
  context.run();
  EXPECT_EQ(rung, 1);
}

}  // namespace
}  // namespace sojourn
