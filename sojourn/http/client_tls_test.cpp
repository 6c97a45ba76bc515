#include <gtest/gtest.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/http/client.hpp"
#include "sojourn/http/tls_stand_in_test.hpp"

namespace sojourn::http {
namespace {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;

// A server that answers every request on as many connections as come.
class TlsStandIn {
 public:
  TlsStandIn(Loop& loop, const Certificate& identity)
      : context_(ssl::context::tls_server), acceptor_(loop.executor(), {asio::ip::address_v4::loopback(), 0}) {
    SSL_CTX_use_certificate(context_.native_handle(), identity.certificate.get());
    SSL_CTX_use_PrivateKey(context_.native_handle(), identity.key.get());
  }

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  Async<void> serve(TaskGroup& connections) {
    for (;;) {
      boost::system::error_code error;
      tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      connections.spawn(answer(std::make_unique<tcp::socket>(std::move(socket))));
    }
  }
  void close() { acceptor_.close(); }

  int handshakes = 0;
  int requests = 0;

 private:
  Async<void> answer(std::unique_ptr<tcp::socket> socket) {
    ssl::stream<tcp::socket&> stream(*socket, context_);
    boost::system::error_code error;
    co_await stream.async_handshake(ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    ++handshakes;
    std::string input;
    for (;;) {
      const std::size_t length = co_await asio::async_read_until(stream, asio::dynamic_buffer(input), "\r\n\r\n",
                                                                 asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      input.erase(0, length);
      ++requests;
      const std::string_view response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
      co_await asio::async_write(stream, asio::buffer(response), asio::redirect_error(asio::use_awaitable, error));
    }
  }

  ssl::context context_;
  tcp::acceptor acceptor_;
};

class TlsClientTest : public testing::Test {
 public:
  // Runs `fact` against a stand-in, with a client's trust in its authority or without.
  void run(bool trusts, Async<void> (*fact)(TlsClientTest& test)) {
    const std::string file = testing::TempDir() + "sojourn_tls_" + SystemRandom().hex(8) + ".pem";
    authority_.write(file);
    if (trusts) ::setenv("SSL_CERT_FILE", file.c_str(), 1);
    trust_.emplace();
    ::unsetenv("SSL_CERT_FILE");
    std::remove(file.c_str());
    loop_.run(serve(*this, fact));
  }

  static Async<void> serve(TlsClientTest& test, Async<void> (*fact)(TlsClientTest& test)) {
    TaskGroup connections(test.loop_.executor());
    connections.spawn(test.server_.serve(connections));
    co_await fact(test);
    test.server_.close();
    co_await connections.join();
  }

  Client client(std::string host = "127.0.0.1") {
    return Client(loop_.executor(), clock_, {std::move(host), server_.port()}, {.trust = &*trust_});
  }
  std::string where(const std::string& host) const {
    return "https://" + host + ":" + std::to_string(server_.port());
  }
  Instant soon() { return clock_.instant() + Seconds(20); }

  static Async<std::string> refusal(TlsClientTest& test, std::string host) {
    Client one = test.client(std::move(host));
    try {
      co_await one.send({.target = "/"}, test.soon());
    } catch (const Error& error) {
      co_return error.message();
    }
    co_return "(answered)";
  }

  Loop loop_;
  SystemClock clock_;
  Certificate authority_{"an authority"};
  Certificate identity_{"here", "IP:127.0.0.1", authority_};
  TlsStandIn server_{loop_, identity_};
  std::optional<TlsTrust> trust_;
};

TEST_F(TlsClientTest, AsksManyTimesOnOneConnection) {
  run(true, [](TlsClientTest& test) -> Async<void> {
    Client one = test.client();
    for (int i = 1; i <= 3; ++i) {
      co_await one.connect(test.soon());
      EXPECT_EQ((co_await one.send({.target = "/"}, test.soon())).body, "hello");
      EXPECT_EQ(test.server_.requests, i);
    }
    EXPECT_EQ(test.server_.handshakes, 1);
  });
}

TEST_F(TlsClientTest, RefusesACertificateThatNobodyTrusts) {
  run(false, [](TlsClientTest& test) -> Async<void> {
    EXPECT_EQ(co_await refusal(test, "127.0.0.1"),
              test.where("127.0.0.1") +
                  ": certificate verify failed: unable to get local issuer certificate (subject /CN=here, issuer "
                  "/CN=an authority)");
    EXPECT_EQ(test.server_.requests, 0);
  });
}

TEST_F(TlsClientTest, RefusesACertificateForAnotherHost) {
  run(true, [](TlsClientTest& test) -> Async<void> {
    EXPECT_EQ(co_await refusal(test, "localhost"),
              test.where("localhost") +
                  ": certificate verify failed: it is not for localhost, but for IP Address:127.0.0.1");
    EXPECT_EQ(test.server_.requests, 0);
  });
}

TEST(TlsTrustTest, NamesAFileOfAuthoritiesThatItCannotRead) {
  try {
    const TlsTrust trust("/nowhere/authorities.pem");
    FAIL() << "there is no such file";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    EXPECT_NE(error.message().find("/nowhere/authorities.pem"), std::string::npos);
  }
}

}  // namespace
}  // namespace sojourn::http
