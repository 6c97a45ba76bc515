#include "sojourn/client/requests.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"
#include "sojourn/client/transport.hpp"

namespace sojourn::client {
namespace {

TEST(RunRequest, LeavesOutWhatWasNotSaid) {
  EXPECT_EQ(Json(body_of(RunRequest{.app = "a"})), parse_json(R"({"app":"a","input":null})"));
  const RunRequest all{.app = "a",
                       .function = "f",
                       .input = JsonObject{{"x", 1}},
                       .session = "new",
                       .session_timeout = Seconds(30),
                       .more = {{"labels", JsonObject{{"env", "test"}}}},
                       .options = {.call_timeout = Seconds(5)}};
  EXPECT_EQ(Json(body_of(all)), parse_json(R"({"labels":{"env":"test"},"app":"a","function":"f","input":{"x":1},)"
                                           R"("session":"new","session_timeout":30,"call_timeout":5})"));
}

TEST(NewSession, LeavesOutWhatWasNotSaid) {
  EXPECT_EQ(Json(body_of(NewSession{})), parse_json("{}"));
  const NewSession all{.app = "a",
                       .session_timeout = Seconds(30),
                       .lifetime = Seconds(60),
                       .context = {{"part", 7}},
                       .setup = "fast",
                       .labels = {{"env", "test"}},
                       .metadata = {{"n", 1}},
                       .user_id = "ann",
                       .warm = true};
  EXPECT_EQ(Json(body_of(all)),
            parse_json(R"({"app":"a","session_timeout":30,"lifetime":60,"context":{"part":7},"setup":"fast",)"
                       R"("labels":{"env":"test"},"metadata":{"n":1},"user_id":"ann","warm":true,"wait":true})"));
}

TEST(SessionQuery, IsEncodedAsAQuery) {
  EXPECT_EQ(target_of({}), "/sessions?limit=100");
  EXPECT_EQ(target_of({.limit = 5'000}), "/sessions?limit=1000");
  EXPECT_EQ(
      target_of({.status = "active", .app = "a/b", .user_id = "ann", .stage = "x y", .labels = {{"e&v", "1=2"}}}),
      "/sessions?limit=100&status=active&app=a%2Fb&user_id=ann&stage=x%20y&label.e%26v=1%3D2");
}

TEST(FileTarget, IsTakenFromAnyAddressOfAFile) {
  EXPECT_EQ(file_target("/files/file_1"), "/files/file_1");
  EXPECT_EQ(file_target("http://127.0.0.1:8080/v1/files/file_1"), "/files/file_1");
  for (const char* uri : {"", "file_1", "/files/", "/files/a?b", "/files/a b"}) EXPECT_THROW(file_target(uri), Error);
}

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

}  // namespace
}  // namespace sojourn::client
