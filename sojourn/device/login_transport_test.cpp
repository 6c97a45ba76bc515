#include "sojourn/device/login_transport.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

// MicroPython's WebAssembly port on a network: the REPL is real, the login and framing before it are a stand-in for
// the firmware's (tests/devices/network_wires.mjs).
class LoginTransportTest : public BoardBench {
 public:
  // `login` is what comes before the host in the board's address.
  void with_board_at(std::string kind, std::string login, Async<void> (*body)(BoardBench&, Board&)) {
    const Kind board = webassembly();
    require(board);
    if (!IsSkipped()) loop.run(serve(*this, board, std::move(kind), std::move(login), body));
  }

  static Async<void> serve(BoardBench& bench, Kind kind, std::string wire, std::string login,
                           Async<void> (*body)(BoardBench&, Board&)) {
    const auto server =
        make_transport(bench.loop.executor(), bench.clock, parse_address(kind.address + " --listen --" + wire));
    co_await server->open(bench.soon());
    std::string port;
    while (!port.ends_with('\n')) port += co_await server->receive();
    port.pop_back();
    kind.address = fmt::format("{}:{}127.0.0.1:{}", wire, login, port);
    std::exception_ptr failure;
    try {
      co_await run(bench, kind, body, {.reconnection = {.attempts = 1}});
    } catch (...) {
      failure = std::current_exception();
    }
    server->close();
    if (failure) std::rethrow_exception(failure);
  }

  // More than goes into one frame, there and back.
  static Async<void> use(BoardBench& bench, Board& board) {
    EXPECT_EQ(co_await board.eval("6*7", bench.soon()), Value{std::int64_t(42)});
    const std::string text = std::string(2000, 'x') + "\xc3\xa9";
    std::string expected;
    for (int i = 0; i < 50; ++i) expected += text;
    EXPECT_EQ(co_await board.exec("print('" + text + "' * 50, end='')", bench.soon()), expected);
    co_await board.soft_reset(bench.soon());
    EXPECT_EQ(co_await board.exec("print('again')", bench.soon()), "again\n");
  }

  static Async<void> be_refused(BoardBench& bench, Board& board) {
    const Error error = co_await error_of(board.exec("print(1)", bench.soon()));
    EXPECT_EQ(error.code(), ErrorCode::forbidden);
    EXPECT_EQ(error.message().find("wrong"), std::string::npos) << "a password is not repeated";
  }
};

TEST_F(LoginTransportTest, SpeaksTelnet) {
  with_board_at("telnet", "micro:python@", use);
}

TEST_F(LoginTransportTest, SpeaksWebRepl) {
  with_board_at("webrepl", "secret@", use);
}

TEST_F(LoginTransportTest, SaysThatALoginWasRefused) {
  with_board_at("telnet", "micro:wrong@", be_refused);
  with_board_at("webrepl", "wrong@", be_refused);
}

// A board that serves something else, or falls silent in its login.
TEST_F(LoginTransportTest, DoesNotWaitPastItsDeadlineForALogin) {
  struct Body {
    static Async<void> run(BoardBench& bench, Address silent) {
      const auto wire = make_transport(bench.loop.executor(), bench.clock, std::move(silent));
      const Error error = co_await error_of(wire->open(bench.in(Milliseconds(50))));
      EXPECT_EQ(error.code(), ErrorCode::call_timeout);
      wire->close();
    }
  };
  boost::asio::ip::tcp::acceptor listener(loop.executor(), {boost::asio::ip::address_v4::loopback(), 0});
  const std::uint16_t port = listener.local_endpoint().port();
  loop.run(Body::run(*this, TelnetAddress{"127.0.0.1", port, "micro", "python"}));
  loop.run(Body::run(*this, WebReplAddress{"127.0.0.1", port, "secret"}));
}

}  // namespace

}  // namespace sojourn::device
