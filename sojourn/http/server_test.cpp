#include "sojourn/http/server.hpp"

#include <dirent.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sojourn/base/error.hpp"
#include "sojourn/http/server_fixture.hpp"

namespace sojourn::http {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string body_of(const std::optional<Response>& response) {
  return response ? response->body : "(closed)";
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

class ServerTest : public ServerFixture {
 public:
  Async<void> answers() {
    RawClient* client = co_await connect();
    co_await client->send(post("hello"));
    const auto response = co_await client->receive();
    EXPECT_EQ(body_of(response), "POST hello");
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->content_type, "text/plain");
    EXPECT_EQ(response->headers.find("Content-Length"), "10");
    EXPECT_EQ(response->headers.find("Date"), "Tue, 14 Nov 2023 22:13:20 GMT");
    EXPECT_EQ(response->headers.find("Connection"), std::nullopt);
    clock_.advance(Seconds(61));
    co_await client->send(get("/echo"));
    EXPECT_EQ((co_await client->receive())->headers.find("Date"), "Tue, 14 Nov 2023 22:14:21 GMT");
  }

  Async<void> keeps_alive() {
    RawClient* client = co_await connect();
    for (int i = 0; i < 100; ++i) {
      co_await client->send(post(std::to_string(i)));
      EXPECT_EQ(body_of(co_await client->receive()), "POST " + std::to_string(i));
    }
  }

  Async<void> pipelines() {
    RawClient* client = co_await connect();
    co_await client->send(get("/wait") + post("a") + "\r\n" + post("b"));
    co_await settle();
    EXPECT_EQ(notes_, "waiting ");
    go_on_.notify_all();
    EXPECT_EQ(body_of(co_await client->receive()), "waited");
    EXPECT_EQ(body_of(co_await client->receive()), "POST a");
    EXPECT_EQ(body_of(co_await client->receive()), "POST b");
  }

  Async<void> trickles() {
    RawClient* client = co_await connect();
    for (const char c : post("hello")) {
      co_await client->send(std::string(1, c));
      co_await settle();
    }
    EXPECT_EQ(body_of(co_await client->receive()), "POST hello");
  }

  Async<void> reads_chunks() {
    const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    const std::string body = "5\r\nhello\r\n1;name=\"v\"\r\n \r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n";
    EXPECT_EQ((co_await ask(head + body)).body, "POST hello 0123456789");
    EXPECT_EQ((co_await ask(head + "0\r\n\r\n")).body, "POST ");
    // The last chunk in pieces of one byte: a parser of ours once asserted that there be more.
    RawClient* client = co_await connect();
    const std::string two_requests = std::string(head).append("0\r\n\r\n").append(head).append(body);
    for (const char c : two_requests) {
      co_await client->send(std::string(1, c));
      co_await settle();
    }
    EXPECT_EQ(body_of(co_await client->receive()), "POST ");
    EXPECT_EQ(body_of(co_await client->receive()), "POST hello 0123456789");
  }

  Async<void> ignores_trailers() {
    RawClient* client = co_await connect();
    co_await client->send(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: y\r\nExpect: "
        "100-continue\r\n\r\n" +
        get("/echo"));
    EXPECT_EQ(body_of(co_await client->receive()), "POST ");
    EXPECT_EQ(body_of(co_await client->receive()), "GET ");
  }

  Async<void> reads_large_body() {
    const std::string body(3 << 20, 'b');
    EXPECT_EQ((co_await ask(post(body))).body, "POST " + body);
  }

  Async<void> writes_large_body() { EXPECT_EQ((co_await ask(get("/large"))).body.size(), 4u << 20); }

  Async<void> continues() {
    RawClient* client = co_await connect();
    co_await client->send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n");
    EXPECT_EQ(co_await client->receive_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    co_await client->send("he");
    co_await settle();
    co_await client->send("llo");
    EXPECT_THAT(co_await client->receive_until("hello"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }

  Async<void> does_not_continue_too_large() {
    RawClient* client = co_await connect();
    co_await client->send(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ((co_await client->receive())->status, 413);
  }

  Async<void> answers_head() {
    RawClient* client = co_await connect();
    co_await client->send("HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string head = co_await client->receive_until("\r\n\r\n");
    EXPECT_THAT(head, HasSubstr("Content-Length: 5\r\n"));
    co_await client->send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(co_await client->receive_until("\r\n\r\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
    for (int i = 0; i < 3; ++i) {
      go_on_.notify_all();
      co_await settle();
    }
    co_await client->send(get("/empty"));
    const std::string empty = co_await client->receive_until("\r\n\r\n");
    EXPECT_THAT(empty, StartsWith("HTTP/1.1 204 No Content\r\n"));
    EXPECT_THAT(empty, Not(HasSubstr("Content-Length")));
    co_await client->send(get("/echo"));
    EXPECT_THAT(co_await client->receive_until("GET "), StartsWith("HTTP/1.1 200 OK\r\n"));
  }

  Async<void> closes_when_asked() {
    RawClient* client = co_await connect();
    co_await client->send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get("/echo"));
    const std::string bytes = co_await client->receive_rest();
    EXPECT_THAT(bytes, HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(bytes.ends_with("\r\n\r\nGET ")) << bytes;
    EXPECT_EQ(bytes.find("HTTP/1.1", 1), std::string::npos);
  }

  Async<void> speaks_http_1_0() {
    RawClient* client = co_await connect();
    co_await client->send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ((co_await client->receive())->headers.find("Connection"), "keep-alive");
    co_await client->send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    for (int i = 0; i < 3; ++i) {
      co_await settle();
      go_on_.notify_all();
    }
    const std::string bytes = co_await client->receive_rest();
    EXPECT_THAT(bytes, Not(HasSubstr("chunked")));
    EXPECT_TRUE(bytes.ends_with("\r\n\r\none\ntwo\nthree\n")) << bytes;
  }

  Async<void> half_closed_client_is_answered() {
    RawClient* client = co_await connect();
    co_await client->send(post("last"));
    client->half_close();
    EXPECT_TRUE((co_await client->receive_rest()).ends_with("POST last"));
  }

  Async<void> handler_throws() {
    RawClient* client = co_await connect();
    for (const auto& [target, status] : {std::pair{"/throw", 409}, {"/silent", 500}, {"/bad-field", 500}}) {
      co_await client->send(get(target));
      const auto response = co_await client->receive();
      EXPECT_EQ(response->status, status) << target;
      EXPECT_TRUE(parse_json_object(response->body).contains("message"));
      EXPECT_EQ(response->headers.find("Set-Cookie"), std::nullopt);
    }
    co_await client->send(get("/twice") + get("/echo"));
    EXPECT_EQ(body_of(co_await client->receive()), "first");
    EXPECT_EQ(body_of(co_await client->receive()), "GET ");
  }

  Async<void> full() {
    RawClient* first = co_await connect();
    co_await first->send(get("/echo"));
    co_await first->receive();
    RawClient* second = co_await connect();
    co_await second->send(get("/echo"));
    const auto refusal = co_await second->receive();
    EXPECT_EQ(refusal->status, 503);
    EXPECT_EQ(refusal->headers.find("Connection"), "close");
    second->close();
    co_await first->send(get("/echo"));
    EXPECT_EQ(body_of(co_await first->receive()), "GET ");
    first->close();
    co_await settle();
    EXPECT_EQ((co_await ask(get("/echo"))).status, 200);
  }

  Async<void> out_of_descriptors() {
    RawClient& client = *clients_.emplace_back(std::make_unique<RawClient>(loop_.executor()));
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const int next = ::dup(0);
    ::close(next);
    const rlimit none{.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    co_await client.connect(port_);
    co_await client.send(get("/wait"));
    co_await settle();
    ::setrlimit(RLIMIT_NOFILE, &before);
    co_await settle();
    EXPECT_EQ(notes_, "") << "the server does not pause";
    clock_.advance(Milliseconds(100));
    co_await settle();
    EXPECT_EQ(notes_, "waiting ");
    go_on_.notify_all();
    EXPECT_EQ(body_of(co_await client.receive()), "waited");
  }

  Async<void> leaks_nothing() {
    co_await ask(get("/echo"));
    clients_.clear();
    co_await settle();
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 10; ++i) {
      co_await ask(get("/echo"));
      co_await ask("BAD\r\n\r\n");
      RawClient* client = co_await connect();
      co_await client->send(get("/wait"));
    }
    co_await settle();
    clients_.clear();
    go_on_.notify_all();
    co_await settle();
    EXPECT_EQ(open_descriptors(), before);
  }
};

TEST_F(ServerTest, AnswersARequest) {
  run(answers());
}
TEST_F(ServerTest, KeepsAConnectionForFurtherRequests) {
  run(keeps_alive());
}
TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  run(pipelines());
}
TEST_F(ServerTest, ReadsARequestThatComesByteByByte) {
  run(trickles());
}
TEST_F(ServerTest, ReadsChunkedBodies) {
  run(reads_chunks());
}
TEST_F(ServerTest, LetsNoTrailerChangeTheHeader) {
  run(ignores_trailers());
}
TEST_F(ServerTest, ReadsALargeBody) {
  run(reads_large_body());
}
TEST_F(ServerTest, WritesALargeBody) {
  run(writes_large_body());
}
TEST_F(ServerTest, TellsAClientThatWaitsToContinue) {
  run(continues());
}
TEST_F(ServerTest, RefusesATooLargeBodyInsteadOfContinuing) {
  run(does_not_continue_too_large());
}
TEST_F(ServerTest, SendsNoBodyToHeadNorWith204) {
  run(answers_head());
}
TEST_F(ServerTest, ClosesAfterTheAnswerWhenAsked) {
  run(closes_when_asked());
}
TEST_F(ServerTest, SpeaksHttp10) {
  run(speaks_http_1_0());
}
TEST_F(ServerTest, AnswersAClientThatClosedItsSide) {
  run(half_closed_client_is_answered());
}
TEST_F(ServerTest, AnswersForAHandlerThatFails) {
  run(handler_throws());
}
TEST_F(ServerTest, RefusesConnectionsPastTheLimitPolitely) {
  limits_.connections = 1;
  run(full());
}
TEST_F(ServerTest, PausesAcceptingWhileDescriptorsRunOut) {
  run(out_of_descriptors());
}
TEST_F(ServerTest, LeaksNoDescriptors) {
  run(leaks_nothing());
}

TEST_F(ServerTest, SaysWhyItCannotListen) {
  const auto code_of = [&](const std::string& host, std::uint16_t port) {
    Server server(loop_.executor(), clock_, log_, {}, {}, &on_error);
    try {
      server.listen(host, port);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal_error;
  };
  start();
  EXPECT_EQ(code_of("127.0.0.1", port_), ErrorCode::address_in_use);
  EXPECT_EQ(code_of("example.invalid", 0), ErrorCode::invalid_request);
  EXPECT_EQ(code_of("203.0.113.1", 0), ErrorCode::invalid_request);
  EXPECT_EQ(code_of("", 0), ErrorCode::invalid_request);
  loop_.run(server_->close(clock_.instant()));
}

TEST_F(ServerTest, ListensOnLocalhostAndIpv6) {
  for (const char* host : {"localhost", "::1"}) {
    Server server(loop_.executor(), clock_, log_, {}, {}, &on_error);
    EXPECT_GT(server.listen(host, 0), 0) << host;
    loop_.run(server.close(clock_.instant()));
  }
}

}  // namespace
}  // namespace sojourn::http
