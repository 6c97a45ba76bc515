#include "sojourn/http/client.hpp"

#include <gtest/gtest.h>

#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "sojourn/base/error.hpp"
#include "sojourn/http/server_fixture.hpp"

namespace sojourn::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

Request request_of(Method method, std::string target, std::string body = {}) {
  return {.method = method, .target = std::move(target), .headers = {}, .body = std::move(body)};
}

template <class T>
Async<std::string> refusal_of(Async<T> answer) {
  try {
    co_await std::move(answer);
  } catch (const Error& error) {
    co_return std::string(info(error.code()).wire);
  }
  co_return "(answered)";
}

TEST(Address, IsReadWithAndWithoutScheme) {
  EXPECT_EQ(parse_address("http://example.com:8080").host, "example.com");
  EXPECT_EQ(parse_address("http://example.com:8080/").port, 8080);
  EXPECT_EQ(parse_address("127.0.0.1:80").host, "127.0.0.1");
  EXPECT_EQ(parse_address("http://[::1]:80").host, "::1");
}

TEST(Address, IsRefusedInAnyOtherShape) {
  for (const char* text : {"", "host", ":80", "host:", "host:0", "host:65536", "host:8x", "https://host:1", "a b:80",
                           "http://u@h:80", "http://h:80/path", "::1:80", "h\r\n:80", "[]:80"}) {
    EXPECT_THROW(parse_address(text), Error) << text;
  }
}

class ClientTest : public ServerFixture {
 public:
  Instant soon() { return clock_.instant() + Seconds(10); }
  Client client() { return Client(loop_.executor(), clock_, {"127.0.0.1", port_}); }

  Async<void> sends() {
    Client one = client();
    Response response = co_await one.send(request_of(Method::post, "/echo", "hello"), soon());
    EXPECT_EQ(response.body, "POST hello");
    EXPECT_EQ(response.content_type, "text/plain");
    response = co_await one.send(request_of(Method::get, "/throw"), soon());
    EXPECT_EQ(response.status, 409);
    response = co_await one.send(request_of(Method::head, "/echo"), soon());
    EXPECT_EQ(response.body, "");
    EXPECT_EQ(response.headers.find("Content-Length"), "5");
    response = co_await one.send(request_of(Method::get, "/large"), soon());
    EXPECT_EQ(response.body.size(), 4u << 20);
  }

  Async<void> streams() {
    Client one = client();
    std::string got;
    group_.spawn(step());
    EXPECT_EQ((co_await one.open(request_of(Method::get, "/stream"), soon())).status, 200);
    for (std::string piece = co_await one.read(soon()); !piece.empty(); piece = co_await one.read(soon())) {
      got += piece + "|";
    }
    EXPECT_EQ(got, "one\n|two\n|three\n|");
    EXPECT_EQ((co_await one.open(request_of(Method::get, "/echo"), soon())).status, 200);
    EXPECT_EQ(co_await one.read(soon()), "GET ");
    EXPECT_EQ(co_await one.read(soon()), "");
  }

  Async<void> step() {
    for (int i = 0; i < 3; ++i) {
      co_await settle();
      go_on_.notify_all();
    }
  }

  Async<void> stops_stream() {
    Client one = client();
    group_.spawn(step());
    co_await one.open(request_of(Method::get, "/stream"), soon());
    EXPECT_EQ(co_await one.read(soon()), "one\n");
    one.close();
    EXPECT_EQ(co_await refusal_of(one.read(soon())), "connection_failed");
    EXPECT_EQ((co_await one.send(request_of(Method::get, "/echo"), soon())).body, "GET ");
  }

  Async<void> silent_stream() {
    Client one = client();
    co_await one.open(request_of(Method::get, "/stream"), soon());
    EXPECT_EQ(co_await one.read(soon()), "one\n");
    group_.spawn(pass_time(Seconds(11)));
    EXPECT_EQ(co_await refusal_of(one.read(soon())), "call_timeout");
    EXPECT_EQ((co_await one.send(request_of(Method::get, "/echo"), soon())).body, "GET ");
  }

  Async<void> connects_first() {
    Client one = client();
    co_await one.connect(soon());
    co_await one.connect(soon());
    EXPECT_EQ((co_await one.send(request_of(Method::post, "/echo", "hello"), soon())).body, "POST hello");
    co_await server_->close(clock_.instant());
    EXPECT_EQ(co_await refusal_of(one.connect(soon())), "connection_failed");
  }

  Async<void> body_limit() {
    Client one = client();
    EXPECT_EQ(co_await refusal_of(one.send(request_of(Method::get, "/large"), soon(), 1000)), "too_large");
    EXPECT_EQ((co_await one.send(request_of(Method::get, "/echo"), soon(), 4)).body, "GET ");
  }

  Async<void> deadline() {
    Client one = client();
    group_.spawn(pass_time(Seconds(11)));
    EXPECT_EQ(co_await refusal_of(one.send(request_of(Method::get, "/wait"), soon())), "call_timeout");
    EXPECT_EQ((co_await one.send(request_of(Method::get, "/echo"), soon())).body, "GET ");
  }

  Async<void> pass_time(Seconds seconds) {
    co_await settle();
    clock_.advance(seconds);
  }

  Async<void> closed_meanwhile() {
    Client one = client();
    co_await one.send(request_of(Method::get, "/echo"), soon());
    group_.spawn(close_later(one));
    EXPECT_EQ(co_await refusal_of(one.send(request_of(Method::get, "/wait"), soon())), "connection_failed");
    EXPECT_EQ((co_await one.send(request_of(Method::get, "/echo"), soon())).body, "GET ");
  }

  Async<void> close_later(Client& one) {
    co_await settle();
    one.close();
  }

  Async<void> reconnects() {
    Client one = client();
    co_await one.send(request_of(Method::get, "/echo"), soon());
    co_await settle();
    clock_.advance(Seconds(76));
    co_await settle();
    EXPECT_EQ((co_await one.send(request_of(Method::post, "/echo", "again"), soon())).body, "POST again");
  }

  Async<void> nobody_listens() {
    Client one = client();
    co_await server_->close(clock_.instant());
    EXPECT_EQ(co_await refusal_of(one.send(request_of(Method::get, "/echo"), soon())), "connection_failed");
  }

  Async<void> unsendable() {
    Client one = client();
    EXPECT_EQ(co_await refusal_of(one.send(request_of(Method::get, "/a b"), soon())), "invalid_request");
    Request request = request_of(Method::get, "/echo");
    request.headers.add("X", "a\r\nY: b");
    EXPECT_EQ(co_await refusal_of(one.send(std::move(request), soon())), "invalid_request");
    EXPECT_EQ((co_await one.send(request_of(Method::get, "/echo"), soon())).body, "GET ");
  }

  Async<void> refused_while_sending() {
    Client one = client();
    const Response response = co_await one.send(request_of(Method::post, "/echo", std::string(8 << 20, 'a')), soon());
    EXPECT_EQ(response.status, 413);
  }
};

TEST_F(ClientTest, SendsRequestsOverOneConnection) {
  run(sends());
}
TEST_F(ClientTest, HandsOverAStreamPieceByPiece) {
  run(streams());
}
TEST_F(ClientTest, GivesUpAStreamWhenClosed) {
  run(stops_stream());
}
TEST_F(ClientTest, EndsAStreamThatIsSilentPastADeadline) {
  run(silent_stream());
}
TEST_F(ClientTest, ConnectsBeforeAnythingIsSent) {
  run(connects_first());
}
TEST_F(ClientTest, RefusesATooLargeAnswer) {
  run(body_limit());
}
TEST_F(ClientTest, EndsAtItsDeadline) {
  run(deadline());
}
TEST_F(ClientTest, EndsItsRequestWhenClosed) {
  run(closed_meanwhile());
}
TEST_F(ClientTest, ReopensAConnectionThatTheServerClosed) {
  run(reconnects());
}
TEST_F(ClientTest, FailsWhereNobodyListens) {
  run(nobody_listens());
}
TEST_F(ClientTest, RefusesToSendWhatWouldBreakApart) {
  run(unsendable());
}
TEST_F(ClientTest, SeesARefusalThatComesWhileItSends) {
  limits_.body_bytes = 1000;
  run(refused_while_sending());
}

// A server of bytes: answers the nth connection with the nth script, then closes it. What a script begins with is
// sent after each request; an empty one closes without an answer.
class ScriptedServer {
 public:
  ScriptedServer(const Executor& executor, std::vector<std::vector<std::string>> scripts)
      : acceptor_(executor, tcp::endpoint(asio::ip::address_v4::loopback(), 0)), scripts_(std::move(scripts)) {}

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  Async<void> serve() {
    for (std::size_t i = 0; i < scripts_.size(); ++i) {
      tcp::socket socket = co_await acceptor_.async_accept(asio::use_awaitable);
      for (std::size_t j = 0; j < scripts_[i].size(); ++j) {
        std::string request;
        co_await asio::async_read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", asio::use_awaitable);
        requests += request.substr(0, request.find(' ')) + " ";
        co_await asio::async_write(socket, asio::buffer(scripts_[i][j]), asio::use_awaitable);
      }
    }
  }

  std::string requests;  // the method of each

 private:
  tcp::acceptor acceptor_;
  std::vector<std::vector<std::string>> scripts_;
};

struct Outcome {
  std::vector<std::string> answers;
  std::string requests;
};

class ClientOfBytes : public testing::Test {
 public:
  // Sends one request of each kind to a server that follows `scripts`, and notes the bodies or errors.
  Outcome outcome_of(std::vector<std::vector<std::string>> scripts, std::vector<Request> requests) {
    Outcome outcome;
    loop_.run(exchange(std::move(scripts), std::move(requests), outcome));
    return outcome;
  }

 private:
  Async<void> exchange(std::vector<std::vector<std::string>> scripts, std::vector<Request> requests,
                       Outcome& outcome) {
    ScriptedServer server(loop_.executor(), std::move(scripts));
    TaskGroup group(loop_.executor());
    group.spawn(server.serve());
    {
      Client client(loop_.executor(), clock_, {"127.0.0.1", server.port()});
      for (Request& request : requests) {
        try {
          Response response = co_await client.send(std::move(request), clock_.instant() + Seconds(10));
          outcome.answers.push_back(response.body);
        } catch (const Error& error) {
          outcome.answers.emplace_back(info(error.code()).wire);
        }
      }
    }
    group.cancel();
    co_await group.join();
    outcome.requests = server.requests;
  }

  Loop loop_;
  SystemClock clock_;
};

const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(ClientOfBytes, SendsAgainWhatIsRepeatableWhenAKeptConnectionEnds) {
  // The second request of the first connection is read and then the connection closed without an answer.
  const Outcome outcome = outcome_of({{ok, ""}, {ok}}, {request_of(Method::get, "/"), request_of(Method::get, "/")});
  EXPECT_EQ(outcome.answers, (std::vector<std::string>{"ok", "ok"}));
  EXPECT_EQ(outcome.requests, "GET GET GET ");
}

TEST_F(ClientOfBytes, DoesNotRepeatAPostThatMayHaveArrived) {
  const Outcome outcome =
      outcome_of({{ok, ""}, {ok}}, {request_of(Method::get, "/"), request_of(Method::post, "/", "x")});
  EXPECT_EQ(outcome.answers, (std::vector<std::string>{"ok", "connection_failed"}));
  EXPECT_EQ(outcome.requests, "GET POST ");
}

TEST_F(ClientOfBytes, RepeatsAPostThatBearsAnIdempotencyKey) {
  Request request = request_of(Method::post, "/");
  request.headers.add("Idempotency-Key", "k");
  const Outcome outcome = outcome_of({{ok, ""}, {ok}}, {request_of(Method::get, "/"), std::move(request)});
  EXPECT_EQ(outcome.answers, (std::vector<std::string>{"ok", "ok"}));
}

TEST_F(ClientOfBytes, RepeatsNothingOnAFreshConnection) {
  EXPECT_EQ(outcome_of({{""}, {ok}}, {request_of(Method::get, "/")}).answers,
            std::vector<std::string>{"connection_failed"});
}

TEST_F(ClientOfBytes, RepeatsNothingOnceTheAnswerBegan) {
  const Outcome outcome = outcome_of({{ok, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"}, {ok}},
                                     {request_of(Method::get, "/"), request_of(Method::get, "/")});
  EXPECT_EQ(outcome.answers, (std::vector<std::string>{"ok", "connection_failed"}));
  EXPECT_EQ(outcome.requests, "GET GET ");
}

TEST_F(ClientOfBytes, ReadsPastInterimAnswers) {
  const std::string interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
  EXPECT_EQ(outcome_of({{interim + ok}}, {request_of(Method::get, "/")}).answers, std::vector<std::string>{"ok"});
}

TEST_F(ClientOfBytes, ReadsABodyThatEndsWithTheConnection) {
  EXPECT_EQ(outcome_of({{"HTTP/1.1 200 OK\r\n\r\nto the end"}}, {request_of(Method::get, "/")}).answers,
            std::vector<std::string>{"to the end"});
}

TEST_F(ClientOfBytes, RefusesWhatIsNoHttp) {
  EXPECT_EQ(outcome_of({{"SSH-2.0-OpenSSH\r\n"}}, {request_of(Method::get, "/")}).answers,
            std::vector<std::string>{"connection_failed"});
  EXPECT_EQ(
      outcome_of({{"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'a')}}, {request_of(Method::get, "/")}).answers,
      std::vector<std::string>{"connection_failed"});
}

TEST_F(ClientOfBytes, TrustsNoConnectionThatSaysMoreThanItWasAsked) {
  const Outcome outcome = outcome_of({{ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}, {ok}},
                                     {request_of(Method::get, "/"), request_of(Method::get, "/")});
  EXPECT_EQ(outcome.answers, (std::vector<std::string>{"ok", "ok"}));
}

}  // namespace
}  // namespace sojourn::http
