#include <gmock/gmock.h>

#include <string>

#include "sojourn/http/server_fixture.hpp"

// Bodies that a handler reads piece by piece, and answers of a length that is known before their bytes.
namespace sojourn::http {
namespace {

std::string put(const std::string& target, std::size_t length) {
  return "PUT " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n";
}

std::string chunked(const std::string& target) {
  return "PUT " + target + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
}

class UploadTest : public ServerFixture {
 public:
  UploadTest() {
    limits_.body_bytes = 100;
    limits_.streams = [](Method method, std::string_view target) -> std::optional<std::uint64_t> {
      if (method != Method::put || !target.starts_with("/upload")) return std::nullopt;
      return 8 << 20;
    };
  }

  Async<void> streams() {
    RawClient* client = co_await connect();
    const std::string large(4 << 20, 'u');
    group_.spawn(client->send(put("/upload", large.size()) + large + put("/upload", 0) + put("/upload", 3) + "abc" +
                              post("next")));
    const auto first = co_await client->receive();
    EXPECT_TRUE(first && first->body == large);
    EXPECT_GE(pieces_read_, 4 << 20 >> 17) << "it came in pieces";
    EXPECT_EQ((co_await client->receive())->body, "");
    EXPECT_EQ((co_await client->receive())->body, "abc");
    EXPECT_EQ((co_await client->receive())->body, "POST next");
  }

  Async<void> streams_chunks() {
    RawClient* client = co_await connect();
    const std::string bytes =
        chunked("/upload") + "5\r\nhello\r\n1;x=y\r\n \r\n5\r\nthere\r\n0\r\nTrailer: t\r\n\r\n";
    for (const char c : bytes) {
      co_await client->send(std::string(1, c));
      co_await settle();
    }
    EXPECT_EQ((co_await client->receive())->body, "hello there");
    co_await client->send(bytes + post("next"));
    EXPECT_EQ((co_await client->receive())->body, "hello there");
    EXPECT_EQ((co_await client->receive())->body, "POST next");
  }

  Async<void> holds_back() {
    RawClient* client = co_await connect();
    const std::string large(8 << 20, 'u');
    group_.spawn(client->send(put("/upload-slow", large.size()) + large));
    for (int i = 0; i < 20; ++i) {
      co_await settle();
      EXPECT_EQ(pieces_read_, i) << "one for each time it was asked";
      EXPECT_EQ(group_.size(), 1u) << "the client is held back";
      go_on_.notify_all();
    }
    std::optional<Response> response;
    group_.spawn(take(*client, response));
    while (!response) {
      go_on_.notify_all();
      co_await settle();
    }
    EXPECT_EQ(response->body.size(), large.size());
  }

  static Async<void> take(RawClient& client, std::optional<Response>& response) {
    response = co_await client.receive();
  }

  Async<void> leaves() {
    RawClient* client = co_await connect();
    co_await client->send(put("/upload", 10) + "01234");
    co_await settle();
    client->close();
    co_await settle();
    EXPECT_EQ(notes_, "connection_failed after 5 ");
  }

  Async<void> dawdles() {
    RawClient* client = co_await connect();
    co_await client->send(put("/upload", 10) + "0");
    for (int i = 1; i < 5; ++i) {
      co_await settle();
      clock_.advance(Seconds(29));  // a little at a time is enough
      co_await settle();
      co_await client->send(std::to_string(i));
    }
    co_await settle();
    for (int i = 0; i < 32; ++i) {
      clock_.advance(Seconds(1));
      co_await settle();
    }
    EXPECT_EQ(notes_, "request_timeout after 5 ");
    const auto response = co_await client->receive();
    EXPECT_EQ(response->status, 408);
    EXPECT_EQ(response->headers.find("Connection"), "close");
  }

  Async<void> is_too_large() {
    EXPECT_EQ((co_await ask(put("/upload", (8 << 20) + 1))).status, 413);
    EXPECT_EQ(requests_, 0) << "a length that is too large is refused before the handler";
    EXPECT_EQ((co_await ask(chunked("/upload") + "800001\r\n" + std::string(100, 'x'))).status, 413);
    EXPECT_EQ((co_await ask(put("/echo", 101))).status, 413) << "another body has the usual limit";
    EXPECT_EQ((co_await ask("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n")).status, 413);
  }

  Async<void> is_broken() {
    RawClient* client = co_await connect();
    co_await client->send(chunked("/upload") + "5\r\nhello\r\n");
    co_await settle();
    co_await client->send("no number\r\n");
    EXPECT_EQ((co_await client->receive())->status, 400);
    EXPECT_EQ(notes_, "invalid_request after 5 ");
  }

  Async<void> is_refused_unread() {
    RawClient* client = co_await connect();
    co_await client->send(put("/upload-refuse", 1'000) + "some" + post("hidden"));
    const auto response = co_await client->receive();
    EXPECT_EQ(response->status, 409);
    EXPECT_EQ(response->headers.find("Connection"), "close");
    client->half_close();
    EXPECT_EQ(co_await client->receive_rest(), "") << "what follows an unread body is no request";
    EXPECT_EQ(requests_, 1);
  }

  Async<void> waits_to_be_asked() {
    RawClient* client = co_await connect();
    const std::string expecting = " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    co_await client->send("PUT /upload-slow" + expecting);
    co_await settle();
    go_on_.notify_all();
    EXPECT_EQ(co_await client->receive_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    co_await client->send("hello");
    for (int i = 0; i < 5; ++i) {
      co_await settle();
      go_on_.notify_all();
    }
    EXPECT_EQ((co_await client->receive())->body, "hello");

    RawClient* other = co_await connect();
    co_await other->send("PUT /upload-refuse" + expecting);
    EXPECT_EQ((co_await other->receive())->status, 409) << "it need not send its body in vain";
  }

  Async<void> answers_of_known_length() {
    RawClient* client = co_await connect();
    co_await client->send(get("/sized") + get("/echo"));
    const auto sized = co_await client->receive();
    EXPECT_EQ(sized->body, "0123456789");
    EXPECT_EQ(sized->headers.find("Content-Length"), "10");
    EXPECT_EQ(sized->headers.find("Transfer-Encoding"), std::nullopt);
    EXPECT_EQ((co_await client->receive())->body, "GET ");
    co_await client->send("HEAD /sized HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ((co_await client->receive(true))->headers.find("Content-Length"), "10");
    co_await client->send(get("/short"));
    EXPECT_THAT(co_await client->receive_rest(), testing::EndsWith("\r\n\r\n01234")) << "closed, so that it shows";
  }
};

TEST_F(UploadTest, ABodyComesInPieces) {
  run(streams());
}

TEST_F(UploadTest, AChunkedBodyComesInPieces) {
  run(streams_chunks());
}

TEST_F(UploadTest, ABodyIsReadNoFasterThanItIsAskedFor) {
  run(holds_back());
}

TEST_F(UploadTest, AClientThatLeavesWithinItsBodyIsAnErrorOfRead) {
  run(leaves());
}

TEST_F(UploadTest, ASlowBodyGoesOnAndOneThatStopsTimesOut) {
  run(dawdles());
}

TEST_F(UploadTest, ABodyPastItsOwnLimitIsRefused) {
  run(is_too_large());
}

TEST_F(UploadTest, ABrokenChunkIsAnErrorOfRead) {
  run(is_broken());
}

TEST_F(UploadTest, BehindABodyThatWasNotReadTheConnectionCloses) {
  run(is_refused_unread());
}

TEST_F(UploadTest, AClientIsToldToGoOnWhenItsBodyIsRead) {
  run(waits_to_be_asked());
}

TEST_F(UploadTest, AnAnswerOfKnownLengthSaysItAndKeepsTheConnection) {
  run(answers_of_known_length());
}

}  // namespace
}  // namespace sojourn::http
