#include "sojourn/device/checked_code.hpp"

#include <gtest/gtest.h>

namespace sojourn::device {

namespace {

TEST(CheckedCode, WritesAnyBytesAsALiteral) {
  EXPECT_EQ(bytes_literal("a'\\\n\x00\xff"), "b\"a'\\\\\\n\"");
  EXPECT_EQ(bytes_literal(std::string_view("\x00\xff\x04~", 4)), "b'\\x00\\xff\\x04~'");
  EXPECT_EQ(bytes_literal("'\"\""), "b'\\'\"\"'");
  EXPECT_EQ(bytes_literal("a\nb\nc\nd\n'\r\ne"), "b\"\"\"a\nb\nc\nd\n'\\x0d\ne\"\"\"");
}

TEST(CheckedCode, HashesEachByteByItsPlace) {
  const auto call = [](std::string_view code) { return checked_code(code, CodeKind::expression).text.substr(0, 10); };
  const std::string code(600, 'a');
  for (std::size_t i = 0; i < code.size(); ++i) {
    std::string other = code;
    other[i] = 'b';
    EXPECT_NE(content_hash(code), content_hash(other)) << i;
    EXPECT_NE(call(code), call(other)) << i;
  }
  EXPECT_NE(content_hash("ab"), content_hash("ba"));
  EXPECT_NE(call("ab"), call("ba"));
  EXPECT_NE(call(code), call(code.substr(1)));
}

TEST(CheckedCode, HashesWhatGetsTheCode) {
  const auto hash = [](const CheckedCode& code) {
    const std::size_t begin = code.text.find('(');
    return code.text.substr(begin, code.text.find(',') - begin);
  };
  const CheckedCode expression = checked_code("f()", CodeKind::expression);
  EXPECT_NE(hash(expression), hash(checked_code("f()", CodeKind::statements)));
  EXPECT_NE(hash(expression), hash(checked_code("f()", CodeKind::definitions)));
  EXPECT_NE(hash(expression), hash(checked_bytes(0, "f()")));
  EXPECT_NE(hash(checked_bytes(1, "f()")), hash(checked_bytes(12, "f()")));
}

TEST(CheckedCode, TellsHandlesAndTheirValuesApart) {
  EXPECT_NE(checked_call(1, "2", "(2,)").text.substr(3), checked_call(2, "2", "(2,)").text.substr(3));
  EXPECT_NE(checked_call(1, "23", "(23,)").text.substr(0, 9), checked_call(1, "2,3", "(2, 3)").text.substr(0, 9));
}

}  // namespace

}  // namespace sojourn::device
