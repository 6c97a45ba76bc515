#include <gmock/gmock.h>

#include "sojourn/base/error.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/http/server_fixture.hpp"

// What the server refuses: broken and ambiguous requests, too large ones, too slow ones.
namespace sojourn::http {
namespace {

using namespace std::string_literals;

struct Case {
  std::string name;
  std::string bytes;
  int status;
};

void PrintTo(const Case& refused, std::ostream* out) {
  *out << refused.name;
}

class RefusedRequest : public ServerFixture, public testing::WithParamInterface<Case> {
 public:
  // A request behind the refused one must not be served: it may be the smuggled part.
  Async<void> is_refused() {
    RawClient* client = co_await connect();
    co_await client->send(GetParam().bytes + get("/wait"));
    const auto response = co_await client->receive();
    EXPECT_EQ(response->status, GetParam().status);
    EXPECT_EQ(response->headers.find("Connection"), "close");
    EXPECT_TRUE(parse_json_object(response->body).contains("message"));
    EXPECT_EQ(co_await client->receive_rest(), "");
    EXPECT_EQ(notes_, "");
  }
};

std::vector<Case> refused_requests() {
  const std::string start = "POST /echo HTTP/1.1\r\nHost: x\r\n";
  const std::string chunked = start + "Transfer-Encoding: chunked\r\n\r\n";
  return {
      {"Garbage", "\x16\x03\x01\x02 hello\r\n\r\n", 400},
      {"BareLineFeed", "GET /echo HTTP/1.1\nHost: x\n\n", 400},
      {"NoVersion", "GET /echo\r\n\r\n", 400},
      {"TlsHello", "\x16\x03\x01\x00\xA5\x01\x00\x00\xA1\x03\x03\r\n\r\n\x13\x01"s, 400},
      {"Http09", "GET /echo\r\n", 400},
      {"Http12", "GET /echo HTTP/1.2\r\nHost: x\r\n\r\n", 400},
      {"Http20", "GET /echo HTTP/2.0\r\nHost: x\r\n\r\n", 400},
      {"HttpInSmallLetters", "GET /echo http/1.1\r\nHost: x\r\n\r\n", 400},
      {"LongVersion", "GET /echo HTTP/1.10\r\nHost: x\r\n\r\n", 400},
      {"SpaceBehindVersion", "GET /echo HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
      {"TwoSpacesInRequestLine", "GET  /echo HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"TabInRequestLine", "GET\t/echo\tHTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"SpaceBeforeMethod", " GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"MethodInSmallLetters", "get /echo HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"MethodInMixedLetters", "Head /echo HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"NulInMethod", "G\0T /echo HTTP/1.1\r\nHost: x\r\n\r\n"s, 400},
      {"NulInTarget", "GET /e\0ho HTTP/1.1\r\nHost: x\r\n\r\n"s, 400},
      {"NulInFieldName", start + "Content\0Length: 5\r\n\r\nhello"s, 400},
      {"SpaceBeforeFirstField", "POST /echo HTTP/1.1\r\n Content-Length: 5\r\nHost: x\r\n\r\nhello", 400},
      {"EmptyFieldName", start + ": 5\r\n\r\n", 400},
      {"BareLineFeedInField", start + "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"BareLineFeedBehindHeader", start + "Content-Length: 5\r\n\nhello\r\n\r\n", 400},
      {"BareReturnBehindHeader", start + "Content-Length: 5\r\n\rhello\r\n\r\n", 400},
      {"Http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"SpaceInTarget", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"NulInField", start + "X: a\0b\r\n\r\n"s, 400},
      {"SpaceBeforeColon", start + "Content-Length : 0\r\n\r\n", 400},
      {"FieldWithoutColon", start + "Content-Length 0\r\n\r\n", 400},
      {"BareReturnInField", start + "X: a\rContent-Length: 5\r\n\r\n", 400},
      {"NoHost", "GET /echo HTTP/1.1\r\n\r\n", 400},
      {"TwoHosts", "GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"LengthThenCoding", start + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"CodingThenLength", start + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
      {"DifferentLengths", start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
      {"SameLengthTwice", start + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
      {"LengthList", start + "Content-Length: 5, 5\r\n\r\nhello", 400},
      {"NegativeLength", start + "Content-Length: -5\r\n\r\nhello", 400},
      {"SignedLength", start + "Content-Length: +5\r\n\r\nhello", 400},
      {"HexLength", start + "Content-Length: 0x5\r\n\r\nhello", 400},
      {"HugeLength", start + "Content-Length: 18446744073709551616\r\n\r\nhello", 400},
      {"EmptyLength", start + "Content-Length:\r\n\r\nhello", 400},
      {"OtherCoding", start + "Transfer-Encoding: gzip\r\n\r\nhello", 400},
      {"CodingList", start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
      {"IdentityCoding", start + "Transfer-Encoding: identity\r\n\r\n", 400},
      {"ChunkedTwice", start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"CodingInQuotes", start + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
      {"EmptyCoding", start + "Transfer-Encoding:\r\n\r\n", 400},
      {"CodingWithComma", start + "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400},
      {"CodingWithVerticalTab", start + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400},
      {"SpaceBeforeColonOfCoding", start + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
      {"FoldedLength", start + "Content-Length:\r\n 5\r\n\r\nhello", 400},
      {"XChunked", start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
      {"ChunkedInHttp10", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"FoldedField", start + "X-Note: a\r\n b\r\nContent-Length: 0\r\n\r\n", 400},
      {"FoldedCoding", start + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
      {"FoldedEmptyField", start + "X-Note:\r\n \r\n\r\n", 400},
      {"ChunkSizeNotHex", chunked + "x\r\n\r\n", 400},
      {"ChunkSizeSigned", chunked + "-1\r\nhello\r\n", 400},
      {"ChunkSizeEmpty", chunked + "\r\nhello\r\n0\r\n\r\n", 400},
      {"ChunkSizeWithPrefix", chunked + "0x5\r\nhello\r\n0\r\n\r\n", 400},
      {"ChunkSizeWithUnderscore", chunked + "0_5\r\nhello\r\n0\r\n\r\n", 400},
      {"ChunkSizeWithSpaceBefore", chunked + " 5\r\nhello\r\n0\r\n\r\n", 400},
      {"ChunkSizeOverflow", chunked + "FFFFFFFFFFFFFFFFF\r\nhello", 400},
      {"ChunkSizeHuge", chunked + "FFFFFFFFFFFFFFFF\r\nhello", 413},
      {"ChunkWithoutItsEnd", chunked + "5\r\nhello0\r\n\r\n", 400},
      {"ChunkEndBareLineFeed", chunked + "5\r\nhello\n0\r\n\r\n", 400},
      {"ChunkEndBareReturn", chunked + "5\r\nhello\r0\r\n\r\n", 400},
      {"ChunkExtensionBareLineFeed", chunked + "5;a\nb\r\nhello\r\n0\r\n\r\n", 400},
      {"ChunkExtensionBareReturn", chunked + "5;a\rb\r\nhello\r\n0\r\n\r\n", 400},
      {"TrailerBareLineFeed", chunked + "0\r\nX: a\n\r\n\r\n", 400},
      {"ChunkSizeTooLong", chunked + "10000000000000000\r\nhello", 400},
      {"ChunkLongerThanItsSize", chunked + "3\r\nhello\r\n0\r\n\r\n", 400},
      {"ChunkBareLineFeed", chunked + "5\nhello\n0\n\n", 400},
      {"LargeHeader", start + "X: " + std::string(20'000, 'a') + "\r\n\r\n", 431},
      {"EndlessHeader", start + "X: " + std::string(40'000, 'a'), 431},
      {"LargeTarget", "GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
      {"LargeTrailer", chunked + "0\r\nX: " + std::string(40'000, 'a'), 431},
      {"LargeChunkExtension", chunked + "1;" + std::string(40'000, 'a') + "\r\na\r\n0\r\n\r\n", 431},
      {"LargeBody", start + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'a'), 413},
      {"LargeChunkedBody", chunked + "3E8\r\n" + std::string(1000, 'a') + "\r\n1\r\na\r\n0\r\n\r\n", 413},
  };
}

TEST_P(RefusedRequest, IsAnsweredAndTheConnectionClosed) {
  limits_.body_bytes = 1000;
  run(is_refused());
}

INSTANTIATE_TEST_SUITE_P(Http, RefusedRequest, testing::ValuesIn(refused_requests()),
                         [](const auto& info) { return info.param.name; });

class LimitsTest : public ServerFixture {
 public:
  Async<void> largest_allowed() {
    const std::string start = "GET /echo HTTP/1.1\r\nHost: x\r\nX: ";
    const std::string end = "\r\n\r\n";
    EXPECT_EQ((co_await ask(start + std::string(1024 - start.size() - end.size(), 'a') + end)).status, 200);
    EXPECT_EQ((co_await ask(start + std::string(1200 - start.size() - end.size(), 'a') + end)).status, 431);
    EXPECT_EQ((co_await ask(post(std::string(1000, 'a')))).status, 200);
    EXPECT_EQ((co_await ask(post(std::string(1001, 'a')))).status, 413);
  }

  // Fields in small pieces, each of them far below the limit.
  Async<void> header_in_pieces() {
    RawClient* client = co_await connect();
    co_await client->send("GET /echo HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 200; ++i) {
      co_await client->send("X-" + std::to_string(i) + ": aaaaaaaaaa\r\n");
      co_await settle();
    }
    EXPECT_EQ((co_await client->receive())->status, 431);
  }

  // The client is still sending when it is refused, and must see the answer all the same.
  Async<void> refused_while_sending() {
    RawClient* client = co_await connect();
    group_.spawn(client->send(post(std::string(8 << 20, 'a'))));
    EXPECT_EQ((co_await client->receive())->status, 413);
    EXPECT_EQ(co_await client->receive_rest(), "");
    client->half_close();
    co_await settle();
  }

  Async<void> lingers_not_forever() {
    RawClient* client = co_await connect();
    co_await client->send("BAD\r\n\r\n");
    EXPECT_EQ((co_await client->receive())->status, 400);
    EXPECT_EQ(co_await client->receive_rest(), "");
    co_await settle();
    clock_.advance(Seconds(3));
    co_await settle();
    // Nobody reads any more: the kernel answers this with a reset.
    co_await client->send("x");
    co_await settle();
    clients_.clear();
  }

  Async<void> slow_request() {
    RawClient* client = co_await connect();
    co_await client->send("GET /echo HTTP/1.1\r\n");
    co_await settle();
    clock_.advance(Seconds(20));
    co_await client->send("Host: x\r\n");
    co_await settle();
    clock_.advance(Seconds(9));
    co_await settle();
    clock_.advance(Seconds(2));
    const auto response = co_await client->receive();
    EXPECT_EQ(response->status, 408);
    EXPECT_EQ(parse_json_object(response->body).at("code").as_string(), "request_timeout");
    EXPECT_EQ(co_await client->receive_rest(), "");
  }

  Async<void> slow_body() {
    RawClient* client = co_await connect();
    co_await client->send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhell");
    co_await settle();
    clock_.advance(Seconds(31));
    EXPECT_EQ((co_await client->receive())->status, 408);
  }

  Async<void> idle() {
    RawClient* fresh = co_await connect();
    RawClient* used = co_await connect();
    co_await used->send(get("/echo"));
    co_await used->receive();
    co_await settle();
    clock_.advance(Seconds(74));
    co_await settle();
    co_await used->send(get("/echo"));
    EXPECT_EQ((co_await used->receive())->status, 200);
    clock_.advance(Seconds(2));
    EXPECT_EQ(co_await fresh->receive_rest(), "");
    co_await used->send(get("/echo"));
    EXPECT_EQ((co_await used->receive())->status, 200);
    clock_.advance(Seconds(76));
    EXPECT_EQ(co_await used->receive_rest(), "");
  }

  Async<void> long_call() {
    RawClient* client = co_await connect();
    co_await client->send(get("/wait"));
    co_await settle();
    for (int i = 0; i < 10; ++i) {
      clock_.advance(Seconds(100));
      co_await settle();
    }
    go_on_.notify_all();
    EXPECT_EQ((co_await client->receive())->body, "waited");
  }
};

TEST_F(LimitsTest, TakeTheLargestAllowed) {
  limits_.header_bytes = 1024;
  limits_.body_bytes = 1000;
  run(largest_allowed());
}
TEST_F(LimitsTest, CountAHeaderThatComesInPieces) {
  limits_.header_bytes = 1024;
  run(header_in_pieces());
}
TEST_F(LimitsTest, AnswerAClientThatIsStillSending) {
  limits_.body_bytes = 1000;
  run(refused_while_sending());
}
TEST_F(LimitsTest, EndTheReadingAfterARefusal) {
  run(lingers_not_forever());
}
TEST_F(LimitsTest, EndARequestThatComesTooSlowly) {
  run(slow_request());
}
TEST_F(LimitsTest, EndABodyThatComesTooSlowly) {
  run(slow_body());
}
TEST_F(LimitsTest, CloseIdleConnections) {
  run(idle());
}
TEST_F(LimitsTest, DoNotEndALongCall) {
  run(long_call());
}

}  // namespace
}  // namespace sojourn::http
