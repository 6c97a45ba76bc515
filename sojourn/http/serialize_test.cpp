#include "sojourn/http/serialize.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn::http {
namespace {

std::string head_of(const Response& response, ResponseFraming framing = {}) {
  std::string head;
  append_response_head(head, response, "DATE", framing);
  return head;
}

TEST(ResponseHead, IsWrittenInOneShape) {
  Response response{.status = 404, .content_type = "text/plain", .body = "gone", .headers = {}};
  response.headers.add("X-Note", "a\tb");
  EXPECT_EQ(head_of(response),
            "HTTP/1.1 404 Not Found\r\nDate: DATE\r\nContent-Type: text/plain\r\nX-Note: a\tb\r\n"
            "Content-Length: 4\r\n\r\n");
  EXPECT_EQ(head_of({.content_type = "", .headers = {}}, {.body = BodyFraming::chunked, .keep_alive = false}),
            "HTTP/1.1 200 OK\r\nDate: DATE\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
}

TEST(ResponseHead, IsRefusedWhereItWouldBreakApart) {
  const auto with = [](std::string name, std::string value) {
    Response response;
    response.headers.add(std::move(name), std::move(value));
    return response;
  };
  EXPECT_THROW(head_of(with("X", "a\r\nb")), Error);
  EXPECT_THROW(head_of(with("X", std::string("a\0b", 3))), Error);
  EXPECT_THROW(head_of(with("X y", "a")), Error);
  EXPECT_THROW(head_of(with("", "a")), Error);
  EXPECT_THROW(head_of({.content_type = "a\nb", .headers = {}}), Error);
  EXPECT_THROW(head_of({.status = 100, .headers = {}}), Error);
  EXPECT_THROW(head_of({.status = 600, .headers = {}}), Error);
}

TEST(DateText, FollowsTheClockInBothDirections) {
  DateText date;
  const Time time = parse_time("1994-11-06T08:49:37.9Z");
  EXPECT_EQ(date.at(time), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(date.at(time + Milliseconds(50)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(date.at(time + Milliseconds(100)), "Sun, 06 Nov 1994 08:49:38 GMT");
  EXPECT_EQ(date.at(time - Seconds(38)), "Sun, 06 Nov 1994 08:48:59 GMT");
}

}  // namespace
}  // namespace sojourn::http
