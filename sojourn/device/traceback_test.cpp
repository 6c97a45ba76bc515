#include "sojourn/device/traceback.hpp"

#include <gmock/gmock.h>

namespace sojourn::device {

namespace {

constexpr std::string_view recorded =
    "Traceback (most recent call last):\n"
    "  File \"<stdin>\", line 1, in <module>\n"
    "  File \"<stdin>\", line 6, in _j\n"
    "  File \"<string>\", line 2, in <module>\n"
    "  File \"<string>\", line 3, in read\n"
    "  File \"sensor.py\", line 8, in raw\n"
    "OSError: [Errno 110] ETIMEDOUT\n";

TEST(Traceback, LeavesOutHowTheCodeWasRun) {
  const Traceback traceback = parse_traceback(recorded);
  ASSERT_EQ(traceback.frames.size(), 3u);
  EXPECT_EQ(traceback.frames[1].function, "read");
  EXPECT_EQ(traceback.frames[2].file, "sensor.py");
  EXPECT_EQ(traceback.type, "OSError");
  EXPECT_EQ(traceback.message, "[Errno 110] ETIMEDOUT");
}

TEST(Traceback, LeavesOutWhatAThreadWroteBeforeIt) {
  const Traceback traceback = parse_traceback("tick\ntock" + std::string(recorded));
  EXPECT_EQ(traceback.type, "OSError");
  EXPECT_EQ(traceback.frames.size(), 3u);
}

TEST(Traceback, NamesThePlacesOnTheHost) {
  Traceback traceback = parse_traceback(recorded);
  map_to_host(traceback, {"main.cpp", 100}, {{"read", {"pins.py", 40}}});
  EXPECT_EQ(traceback.frames[0].file, "main.cpp");
  EXPECT_EQ(traceback.frames[0].line, 101);
  EXPECT_EQ(traceback.frames[1].file, "pins.py");
  EXPECT_EQ(traceback.frames[1].line, 42);
  EXPECT_EQ(traceback.frames[2].line, 8) << "a file of the board's own";
}

TEST(Traceback, SaysWhetherARetryCanHelp) {
  const auto error = [](std::string_view text) { return to_error(parse_traceback(text)); };
  EXPECT_EQ(error(recorded).details().at("class"), "timeout");
  EXPECT_TRUE(error(recorded).retryable());
  EXPECT_EQ(error("OSError: [Errno 2] ENOENT").details().at("class"), "file_system");
  EXPECT_FALSE(error("OSError: [Errno 2] ENOENT").retryable());
  EXPECT_EQ(error("OSError: [Errno 5] EIO").details().at("class"), "device");
  EXPECT_EQ(error("MemoryError: ").details().at("class"), "memory");
  EXPECT_EQ(error("MyError: [Errno 110]").details().at("class"), "runtime");
  EXPECT_EQ(error("KeyboardInterrupt: ").message(), "KeyboardInterrupt");
}

TEST(Traceback, TakesAnyText) {
  EXPECT_EQ(parse_traceback("").type, "");
  EXPECT_EQ(parse_traceback("Traceback (most recent call last):\n  File \"x\n\xff: y\nz").message, "y\nz");
  EXPECT_EQ(to_error(parse_traceback("\xff: \xfe")).message(), "\uFFFD: \uFFFD");
  EXPECT_EQ(parse_traceback("ValueError: a\n  File \"x\", line 1\nb").message, "a\n  File \"x\", line 1\nb");
}

}  // namespace

}  // namespace sojourn::device
