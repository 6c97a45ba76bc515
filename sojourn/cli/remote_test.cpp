#include "sojourn/cli/remote.hpp"

#include <gtest/gtest.h>

namespace sojourn::cli {
namespace {

TEST(NextPage, IsReadFromTheLinkHeader) {
  EXPECT_EQ(next_page(R"(</sessions?cursor=x>; rel="next")"), "/sessions?cursor=x");
  EXPECT_EQ(next_page(R"(</first>; rel="first", </b?c=1>; title="t"; rel="next")"), "/b?c=1");
  EXPECT_EQ(next_page("<http://127.0.0.1:8080/sessions?cursor=x>; rel=next"), "/sessions?cursor=x");
  EXPECT_EQ(next_page("<http://127.0.0.1:8080>; rel=next"), "/");
}

TEST(NextPage, IsNothingWhereNoLinkSaysSo) {
  EXPECT_EQ(next_page(""), "");
  EXPECT_EQ(next_page(R"(</sessions?cursor=x>; rel="prev")"), "");
  EXPECT_EQ(next_page("</sessions"), "");
  EXPECT_EQ(next_page("rel=\"next\""), "");
  EXPECT_EQ(next_page(">; rel=\"next\" <"), "");
}

TEST(PathSegment, EncodesWhatWouldLeaveTheSegment) {
  EXPECT_EQ(path_segment("sess_20260115_103045_a1b2c3"), "sess_20260115_103045_a1b2c3");
  EXPECT_EQ(path_segment("../a?b#c%"), "%2E%2E%2Fa%3Fb%23c%25");
  EXPECT_EQ(path_segment("é"), "%C3%A9");
}

TEST(Field, IsEmptyForWhatIsNotThere) {
  const Json object = parse_json(R"({"text":"a","number":3,"null":null,"list":[1]})");
  EXPECT_EQ(field(object, "text"), "a");
  EXPECT_EQ(field(object, "number"), "3");
  EXPECT_EQ(field(object, "list"), "[1]");
  EXPECT_EQ(field(object, "null"), "");
  EXPECT_EQ(field(object, "missing"), "");
  EXPECT_EQ(field(Json(3), "text"), "");
}

}  // namespace
}  // namespace sojourn::cli
