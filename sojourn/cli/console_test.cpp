#include "sojourn/cli/console.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "sojourn/base/json.hpp"

namespace sojourn::cli {
namespace {

class ConsoleTest : public testing::Test {
 protected:
  std::istringstream in_;
  std::ostringstream out_, err_;
  Console console_{.in = in_, .out = out_, .err = err_};
};

TEST_F(ConsoleTest, TablesAlignTheirColumnsWithoutTrailingBlanks) {
  Table table({"APP", "VERSION", "NOTE"});
  table.add({{"counter"}, {"1.2"}, {""}});
  table.add({{"é"}, {""}, {"last"}});
  table.add({{"x"}, {"2"}, {"y"}});
  table.print(console_);
  EXPECT_EQ(out_.str(),
            "APP      VERSION  NOTE\n"
            "counter  1.2\n"
            "é                 last\n"
            "x        2        y\n");
}

TEST_F(ConsoleTest, TablesWithoutHeadsHaveNoFirstLine) {
  Table table({"", ""});
  table.add({{"id"}, {"sess"}});
  table.print(console_);
  EXPECT_EQ(out_.str(), "id  sess\n");
}

TEST_F(ConsoleTest, ColoursDoNotShiftColumns) {
  console_.colour = true;
  Table table({"A", "B"});
  table.add({{"up", Colour::green}, {"1"}});
  table.print(console_);
  EXPECT_EQ(out_.str(), "\x1b[1mA\x1b[0m   \x1b[1mB\x1b[0m\n\x1b[32mup\x1b[0m  1\n");
}

TEST_F(ConsoleTest, WhatComesFromOutsideCannotSteerTheTerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\td\x7f"), "a?[31mb?c?d?");
  EXPECT_EQ(printable("a\nb\tc\r", true), "a\nb\tc?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m \xc3\xa9 \xc2\xa0"),
            "?31m \xc3\xa9 \xc2\xa0");
  EXPECT_EQ(printable("\xff"), "\xef\xbf\xbd");
  Table table({"A"});
  table.add({{"x\x1b[2J"}});
  table.print(console_);
  EXPECT_EQ(out_.str(), "A\nx?[2J\n");
}

TEST_F(ConsoleTest, ErrorsSayWhatIsWrongAndWhatToDo) {
  EXPECT_EQ(report(console_, Error(ErrorCode::session_ended, "session ended: x")), ExitCode::failed);
  EXPECT_EQ(err_.str(), "sojourn: session ended: x\n         Start a new session.\n");
  EXPECT_EQ(out_.str(), "");
}

TEST_F(ConsoleTest, ErrorsForMachinesAreOneJsonObject) {
  console_.json = true;
  report(console_, Error(ErrorCode::queue_full, "full", {{"limit", 3}}));
  EXPECT_EQ(err_.str(), R"({"error":{"code":"queue_full","message":"full","retryable":true,"details":{"limit":3}}})"
                        "\n");
}

TEST_F(ConsoleTest, ErrorsForMachinesAreTextWhateverTheyQuote) {
  console_.json = true;
  report(console_, Error(ErrorCode::session_not_found, "session not found: \xff"));
  EXPECT_EQ(parse_json(err_.str()).at("error").at("message"), "session not found: \uFFFD");
}

TEST_F(ConsoleTest, ExitCodesTellFailureUsageAndUnreachableApart) {
  EXPECT_EQ(report(console_, Error(ErrorCode::app_error, "")), ExitCode::failed);
  EXPECT_EQ(report(console_, Error(ErrorCode::config_invalid, "")), ExitCode::usage);
  EXPECT_EQ(report(console_, Error(ErrorCode::connection_failed, "")), ExitCode::unreachable);
  EXPECT_EQ(report(console_, Error(ErrorCode::store_newer, "")), ExitCode::unreachable);
}

}  // namespace
}  // namespace sojourn::cli
