#include "sojourn/http/message.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/json.hpp"

namespace sojourn::http {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;
using Segments = std::vector<std::string>;

TEST(Headers, AreFoundWithoutCase) {
  Headers headers;
  headers.add("Content-Type", "a");
  headers.add("content-type", "b");
  EXPECT_EQ(headers.find("CONTENT-TYPE"), "a");
  EXPECT_EQ(headers.find("Content-Typ"), std::nullopt);
}

TEST(Target, IsTakenApartAndDecoded) {
  const Target target = parse_target("/apps/a%20b/%C3%A9?x=1&y=a+b%26c&flag&=v&&z=a=b");
  EXPECT_EQ(target.path, (Segments{"apps", "a b", "\xC3\xA9"}));
  EXPECT_EQ(target.query, (Pairs{{"x", "1"}, {"y", "a b&c"}, {"flag", ""}, {"", "v"}, {"z", "a=b"}}));
  EXPECT_EQ(target.find("y"), "a b&c");
  EXPECT_EQ(target.find("flag"), "");
  EXPECT_EQ(target.find("none"), std::nullopt);
}

TEST(Target, KeepsAPlusInThePath) {
  EXPECT_EQ(parse_target("/a+b").path, Segments{"a+b"});
}

TEST(Target, KeepsEmptySegments) {
  EXPECT_EQ(parse_target("/").path, Segments{});
  EXPECT_EQ(parse_target("/a/").path, (Segments{"a", ""}));
  EXPECT_EQ(parse_target("//a").path, (Segments{"", "a"}));
  EXPECT_EQ(parse_target("/?x=1").path, Segments{});
}

class RefusedTarget : public testing::TestWithParam<std::string> {};

TEST_P(RefusedTarget, IsAnInvalidRequest) {
  try {
    parse_target(GetParam());
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_TRUE(is_valid_utf8(error.message()));
  }
}

INSTANTIATE_TEST_SUITE_P(Http, RefusedTarget,
                         testing::Values("", "a", "*", "http://x/a", "/%", "/%4", "/%4g", "/%zz", "/a%00b", "/?a=%00",
                                         "/%FF", "/%C3", "/\xFF", "/?q=%C0%AF", "/..", "/a/../b", "/./a", "/%2e%2E/x",
                                         "/%2e", "/a%2Fb", "/a%2fb", "/a?x=%", "/a#b", "/?%4"));

}  // namespace
}  // namespace sojourn::http
