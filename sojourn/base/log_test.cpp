#include "sojourn/base/log.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace sojourn {
namespace {

template <class F>
std::string written_by(F action) {
  testing::internal::CaptureStderr();
  action();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, WritesOneLineWithItsFields) {
  const std::string line = written_by([] { Log().warning("disk is nearly full", {{"free", 7}, {"path", "/a b"}}); });
  EXPECT_NE(line.find("Z warning disk is nearly full  free=7  path=\"/a b\"\n"), std::string::npos) << line;
}

TEST(Log, WritesJsonLines) {
  const std::string line =
      written_by([] { Log(LogLevel::info, LogFormat::json).info("started", {{"port", 8080}, {"level", "mine"}}); });
  const JsonObject json = parse_json_object(line);
  EXPECT_EQ(json.at("message").as_string(), "started");
  EXPECT_EQ(json.at("port").as_int64(), 8080);
  EXPECT_EQ(json.at("level").as_string(), "info");
  EXPECT_TRUE(json.contains("time"));
}

TEST(Log, DropsWhatIsBelowItsThreshold) {
  EXPECT_EQ(written_by([] { Log(LogLevel::warning).info("not of interest"); }), "");
  EXPECT_NE(written_by([] { Log(LogLevel::warning).error("of interest"); }), "");
  EXPECT_EQ(written_by([] { Log::silent().error("not of interest"); }), "");
}

TEST(Log, LeavesOutWhatIsNoJson) {
  const JsonObject fields{{"bad", std::numeric_limits<double>::quiet_NaN()}, {"broken", "\xFF"}, {"good", 1}};
  for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
    const std::string line = written_by([&] { Log(LogLevel::info, format).info("m", fields); });
    EXPECT_NE(line.find("good"), std::string::npos) << line;
    EXPECT_EQ(line.find("bad"), std::string::npos) << line;
    EXPECT_EQ(line.find("broken"), std::string::npos) << line;
  }
}

TEST(Log, NamesItsLevelsAndReadsTheirNames) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    EXPECT_EQ(parse_log_level(to_string(level)), level);
  }
  EXPECT_EQ(to_string(LogLevel::warning), "warning");
  EXPECT_EQ(parse_log_level("Warning"), std::nullopt);
  EXPECT_EQ(parse_log_level(""), std::nullopt);
}

TEST(Log, KeepsAMessageOnOneLine) {
  for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
    const std::string text = written_by([&] { Log(LogLevel::info, format).info("a\nb\xFF", {{"k\n", "x\ny"}}); });
    EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  }
}

}  // namespace
}  // namespace sojourn
