#include "sojourn/device/python_value.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

template <class T>
Value v(T is) {
  return Value{std::move(is)};
}
Value integer(std::int64_t number) {
  return Value{number};
}
bool is_opaque(std::string_view text) {
  return std::holds_alternative<Opaque>(parse_repr(text).is);
}

TEST(PythonValue, ReadsWhatReprWrites) {
  EXPECT_EQ(parse_repr("None"), v(None{}));
  EXPECT_EQ(parse_repr("True"), v(true));
  EXPECT_EQ(parse_repr("-9223372036854775808"), integer(std::numeric_limits<std::int64_t>::min()));
  EXPECT_EQ(parse_repr("9223372036854775808"), v(BigInteger{"9223372036854775808"}));
  EXPECT_EQ(parse_repr("1.5e+300"), v(1.5e300));
  EXPECT_EQ(parse_repr("-inf"), v(-std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(std::isnan(std::get<double>(parse_repr("nan").is)));
  EXPECT_EQ(parse_repr("'it\\'s \\u20ac\\x41\\t'"), v(std::string("it's \u20ac"
                                                                  "A\t")));
  EXPECT_EQ(parse_repr("\"it's\""), v(std::string("it's")));
  EXPECT_EQ(parse_repr("b'\\x80\\x00'"), v(Bytes{std::string("\x80\0", 2)}));
  EXPECT_EQ(parse_repr("()"), v(Tuple{}));
  EXPECT_EQ(parse_repr("(1,)"), v(Tuple{{integer(1)}}));
  EXPECT_EQ(parse_repr("[1, [2]]"), v(List{{integer(1), v(List{{integer(2)}})}}));
  EXPECT_EQ(parse_repr("{1, 2}"), v(Set{{integer(1), integer(2)}}));
  EXPECT_EQ(parse_repr("set()"), v(Set{}));
  EXPECT_EQ(parse_repr("{}"), v(Dict{}));
  EXPECT_EQ(parse_repr("{1: 'a', None: []}"), v(Dict{{{integer(1), v(std::string("a"))}, {v(None{}), v(List{})}}}));
}

TEST(PythonValue, TakesWhatIsNoLiteralAsItIs) {
  for (const char* text : {"", "<function f at 0x20>", "[1, <object>]", "1 + 1", "'open", "b'\\q'", "(1", "{1: }",
                           "nano", "__import__('os')", "Point(x=1)", "'\\xzz'", "--1", "1e", "[1 2]", "{1 2}"}) {
    EXPECT_TRUE(is_opaque(text)) << text;
    EXPECT_EQ(to_python(parse_repr(text)), text);
  }
}

TEST(PythonValue, BoundsHowDeepItReads) {
  EXPECT_FALSE(is_opaque(std::string(60, '[') + std::string(60, ']')));
  EXPECT_TRUE(is_opaque(std::string(100'000, '[')));
}

TEST(PythonValue, IsReadBackFromItsLiteral) {
  const Value value = v(List{{v(None{}), v(true), integer(-3), v(BigInteger{"123456789012345678901"}), v(0.1),
                              v(std::string("\u00e9\U0001F600'\\\n\x01")), v(Bytes{"\x01'"}), v(Tuple{{integer(1)}}),
                              v(Set{{integer(1)}}), v(Set{}), v(Dict{{{integer(1), v(Tuple{})}}})}});
  EXPECT_EQ(parse_repr(to_python(value)), value);
}

TEST(PythonValue, GoesThroughJson) {
  const Value value = v(Dict{{{v(std::string("big")), v(BigInteger{"123456789012345678901"})},
                              {v(std::string("raw")), v(Bytes{std::string("\x00\xff", 2)})},
                              {v(std::string("far")), v(std::numeric_limits<double>::infinity())},
                              {v(std::string("map")), v(Dict{{{integer(1), v(None{})}}})},
                              {v(std::string("int")), v(Dict{{{v(std::string("int")), integer(1)}}})},
                              {v(std::string("list")), v(List{{integer(1), v(0.5), v(std::string("x"))}})}}});
  EXPECT_EQ(to_text(to_json(value)),
            R"({"big":{"int":"123456789012345678901"},"raw":{"bytes":"AP8="},"far":{"float":"inf"},)"
            R"("map":{"dict":[[1,null]]},"int":{"dict":[["int",1]]},"list":[1,0.5,"x"]})");
  EXPECT_EQ(from_json(to_json(value)), value);
}

TEST(PythonValue, RefusesJsonThatStandsForNothing) {
  for (const char* text :
       {R"({"bytes":"?"})", R"({"int":"1.5"})", R"({"float":"x"})", R"({"dict":[[1]]})", R"({"int":1})"}) {
    EXPECT_THROW(from_json(parse_json(text)), Error) << text;
  }
}

}  // namespace

}  // namespace sojourn::device
