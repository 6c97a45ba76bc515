#include "sojourn/base/json.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "sojourn/base/error.hpp"

namespace sojourn {
namespace {

struct Refusal {
  ErrorCode code;
  std::string pointer;
  std::string message;
};

template <class F>
Refusal refusal_of(F action) {
  try {
    action();
  } catch (const Error& error) {
    const Json* pointer = error.details().if_contains("pointer");
    return {error.code(), pointer != nullptr ? std::string(pointer->as_string()) : "(none)", error.message()};
  }
  return {ErrorCode::internal_error, "(accepted)", ""};
}

Refusal refusal_of_text(std::string_view text, JsonLimits limits = {}) {
  return refusal_of([&] { parse_json(text, limits); });
}

class RefusedText : public testing::TestWithParam<std::string> {};

TEST_P(RefusedText, IsInvalidJson) {
  const Refusal refusal = refusal_of_text(GetParam());
  EXPECT_EQ(refusal.code, ErrorCode::invalid_json) << GetParam();
  EXPECT_NE(refusal.pointer, "(none)");
}

INSTANTIATE_TEST_SUITE_P(
    Json, RefusedText,
    testing::Values("", " ", "NaN", "Infinity", "-Infinity", "nan", "[NaN]", "{\"a\":Infinity}", "nul", "tru", "{",
                    "[", "[1", "[1,", "[1,]", "{\"a\":1,}", "{a:1}", "{'a':1}", "'a'", "01", "1.", ".5", "+1", "0x10",
                    "1e", "--1", "1 2", "{} {}", "[]x", "\"a", "\"\\x\"", "\"\t\"", "\"\n\"", "// a\n1", "/**/1",
                    "[1 2]", "\xEF\xBB\xBF{}", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\xFF\"",
                    "\"\xC0\xAF\"", "\"\xED\xA0\x80\"", "\"\xF5\x80\x80\x80\"", "\"\xE2\x82\"", "1e999", "-1e999",
                    "18446744073709551616", "-9223372036854775809", "123456789012345678901234567890",
                    "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}"));

TEST(Json, NamesTheOffendingValueByPointer) {
  EXPECT_EQ(refusal_of_text(R"({"a":[1,{"b":1e999}]})").pointer, "/a/1/b");
  EXPECT_EQ(refusal_of_text(R"([0,[0,18446744073709551616]])").pointer, "/1/1");
  EXPECT_EQ(refusal_of_text(R"({"x":{"k":1,"k":2}})").pointer, "/x/k");
  EXPECT_EQ(refusal_of_text(R"({"a/b":{"c~d":nope}})").pointer, "/a~1b/c~0d");
  EXPECT_EQ(refusal_of_text(R"({"":{"":nope}})").pointer, "//");
  EXPECT_EQ(refusal_of_text("nope").pointer, "");
}

TEST(Json, NamesTheOffsetInBytes) {
  try {
    parse_json("[1,2,x]");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.details().at("offset").to_number<int>(), 5);
  }
}

TEST(Json, SaysWhatIsWrong) {
  EXPECT_NE(refusal_of_text(R"({"k":1,"k":2})").message.find("duplicate key"), std::string::npos);
  EXPECT_NE(refusal_of_text("1e999").message.find("range of a double"), std::string::npos);
  EXPECT_NE(refusal_of_text("18446744073709551616").message.find("64 bits"), std::string::npos);
  EXPECT_NE(refusal_of_text("\"\xFF\"").message.find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal_of_text("{} {}").message.find("followed by more"), std::string::npos);
  EXPECT_NE(refusal_of_text("[1").message.find("too early"), std::string::npos);
  EXPECT_NE(refusal_of_text("\"\\udc00\"").message.find("surrogate"), std::string::npos);
}

TEST(Json, TakesTheDeepestAllowedTextAndRefusesOneLevelMore) {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_NO_THROW(parse_json(nested(64)));
  EXPECT_EQ(refusal_of_text(nested(65)).code, ErrorCode::invalid_json);
  EXPECT_NO_THROW(parse_json(nested(3), {.depth = 3}));
  EXPECT_EQ(refusal_of_text(nested(4), {.depth = 3}).code, ErrorCode::invalid_json);
  EXPECT_EQ(refusal_of_text(std::string(1'000'000, '[')).code, ErrorCode::invalid_json);
}

TEST(Json, TakesTheLargestAllowedTextAndRefusesOneByteMore) {
  EXPECT_NO_THROW(parse_json("[1,2]", {.bytes = 5}));
  EXPECT_EQ(refusal_of_text("[1,2] ", {.bytes = 5}).code, ErrorCode::too_large);
}

TEST(Json, WantsAnObjectWhereOneIsAskedFor) {
  EXPECT_EQ(parse_json_object(R"({"a":1})").at("a").as_int64(), 1);
  EXPECT_EQ(refusal_of([] { parse_json_object("[1]"); }).code, ErrorCode::invalid_json);
  EXPECT_EQ(refusal_of([] { parse_json_object("null"); }).code, ErrorCode::invalid_json);
}

class KeptText : public testing::TestWithParam<std::string> {};

TEST_P(KeptText, IsWrittenAsItWasRead) {
  EXPECT_EQ(to_text(parse_json(GetParam())), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Json, KeptText,
                         testing::Values("1", "1.0", "-0.0", "0", "-1", "0.1", "12.5", "1e+300", "5e-324",
                                         "1.7976931348623157e+308", "0.30000000000000004", "9223372036854775807",
                                         "-9223372036854775808", "18446744073709551615", "null", "true", "false",
                                         "\"\"", "\"a\\\"\\\\\\n\\r\\t\\u0001\"", "\"\x7F\"", "\"\\u0000\"",
                                         "\"h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\"", "[]", "{}",
                                         "[1,[2,{\"a\":null}]]", R"({"b":1,"a":2})", R"({"":0})"));

TEST(Json, ReadsEscapesAndSurrogatePairs) {
  EXPECT_EQ(parse_json(R"("\u00e9\ud83d\ude00\/")").as_string(), "\xC3\xA9\xF0\x9F\x98\x80/");
}

TEST(Json, KeepsIntegersAndDoublesApart) {
  EXPECT_TRUE(parse_json("1").is_int64());
  EXPECT_TRUE(parse_json("1.0").is_double());
  EXPECT_TRUE(parse_json("1e2").is_double());
  EXPECT_TRUE(parse_json("18446744073709551615").is_uint64());
  EXPECT_TRUE(std::signbit(parse_json("-0.0").as_double()));
}

TEST(Json, ReadsEveryDoubleBackExactly) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 engine(seed);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = std::bit_cast<double>(engine());
    if (!std::isfinite(value)) continue;
    ASSERT_EQ(parse_json(to_text(Json(value))).as_double(), value) << to_text(Json(value));
  }
}

TEST(Json, ReadsANumberTooSmallForADoubleAsZero) {
  EXPECT_EQ(parse_json("1e-999").as_double(), 0.0);
}

TEST(Json, RefusesToWriteWhatJsonCannotHold) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto refusal = [](const Json& value) { return refusal_of([&] { to_text(value); }); };

  EXPECT_EQ(refusal(nan).code, ErrorCode::not_serializable);
  EXPECT_EQ(refusal(nan).pointer, "");
  EXPECT_EQ(refusal(JsonArray{1, infinity}).pointer, "/1");
  EXPECT_EQ(refusal(JsonObject{{"a/b", JsonArray{0, JsonObject{{"c~d", -infinity}}}}}).pointer, "/a~1b/1/c~0d");
  EXPECT_EQ(refusal(JsonObject{{"a", "\xFF"}}).code, ErrorCode::not_serializable);
  EXPECT_EQ(refusal(JsonObject{{"a", "\xFF"}}).pointer, "/a");
  EXPECT_EQ(refusal(JsonObject{{"\xFF", 1}}).code, ErrorCode::not_serializable);
}

TEST(Json, RefusesToWritePastItsLimits) {
  Json nested = 1;
  for (int i = 0; i < 4; ++i) nested = JsonArray{nested};
  EXPECT_EQ(to_text(nested, {.depth = 4}), "[[[[1]]]]");
  EXPECT_EQ(refusal_of([&] { to_text(nested, {.depth = 3}); }).code, ErrorCode::not_serializable);
  EXPECT_EQ(refusal_of([&] { to_text(nested, {.depth = 3}); }).pointer, "/0/0/0");
  EXPECT_EQ(to_text(Json("abc"), {.bytes = 5}), "\"abc\"");
  EXPECT_EQ(refusal_of([] { to_text(Json("abc"), {.bytes = 4}); }).code, ErrorCode::too_large);
}

TEST(Json, CountsOnlyItsOwnTextAgainstTheLimit) {
  std::string out(100, 'x');
  append_json(out, Json("abc"), {.bytes = 5});
  EXPECT_EQ(out.size(), 105u);
}

TEST(Json, ShowsBrokenUtf8AsReplacementCharacters) {
  EXPECT_EQ(to_valid_utf8("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(to_valid_utf8("\xC3\xA9"), "\xC3\xA9");
  EXPECT_TRUE(is_valid_utf8(to_valid_utf8("\xE2\x82")));
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_FALSE(is_valid_utf8("\xED\xBF\xBF"));
}

}  // namespace
}  // namespace sojourn
