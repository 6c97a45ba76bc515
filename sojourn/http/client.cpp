#include "sojourn/http/client.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cassert>
#include <charconv>
#include <utility>
#include <vector>

#include "sojourn/http/message_parser.hpp"
#include "sojourn/http/public_address.hpp"
#include "sojourn/http/serialize.hpp"
#include "sojourn/http/tls_stream.hpp"

namespace sojourn::http {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t header_bytes = 64 * 1024;
constexpr std::size_t read_bytes = 64 * 1024;

// Whether the server may get the request twice without harm.
bool is_repeatable(const Request& request) {
  return (request.method != Method::post && request.method != Method::patch) ||
         request.headers.find("Idempotency-Key").has_value();
}

}  // namespace

Address parse_address(std::string_view text) {
  const auto refuse = [&] {
    return Error(ErrorCode::invalid_request,
                 "'" + to_valid_utf8(text) + "' is no address such as http://127.0.0.1:8080 or HOST:PORT");
  };
  constexpr std::string_view scheme = "http://";
  std::string_view rest = text;
  if (rest.starts_with(scheme)) {
    rest.remove_prefix(scheme.size());
    if (rest.ends_with('/')) rest.remove_suffix(1);
  }
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) throw refuse();
  std::string_view host = rest.substr(0, colon);
  const std::string_view digits = rest.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool is_name = host.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
                       std::string_view::npos;
  const bool is_ipv6 = host.find_first_not_of("0123456789abcdefABCDEF:.%") == std::string_view::npos;
  if (host.empty() || !(bracketed ? is_ipv6 : is_name)) throw refuse();
  std::uint16_t port = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (problem != std::errc() || end != digits.data() + digits.size() || port == 0) throw refuse();
  return {std::string(host), port};
}

struct Client::State {
  State(Executor executor_, Clock& clock_, Address address_, ClientRules rules_)
      : executor(executor_),
        clock(clock_),
        address(std::move(address_)),
        rules(rules_),
        resolver(executor_),
        socket(executor_) {
    const bool is_ipv6 = address.host.find(':') != std::string::npos;
    const bool is_usual = rules.trust != nullptr && address.port == 443;
    host_field = (is_ipv6 ? "[" + address.host + "]" : address.host);
    if (!is_usual) host_field += ":" + std::to_string(address.port);
  }

  Async<Response> open(Request request);
  Async<std::string> read();
  Async<void> connect();
  Async<void> shake_hands();
  Async<bool> begin(const Request& request);
  Async<void> write(const Request& request);
  Async<std::size_t> receive(error_code& error);
  void await_answer(bool to_head);
  bool is_usable(bool is_fresh = false);
  [[noreturn]] void fail(const std::string& what);
  void close();
  void give_up();

  Executor executor;
  Clock& clock;
  Address address;
  ClientRules rules;
  std::string host_field;
  tcp::resolver resolver;
  tcp::socket socket;
  std::string refused_certificate;       // what was wrong with the server's
  std::unique_ptr<TlsStream> tls;        // on `socket`, where it is spoken
  std::string input;                     // what came and is not used yet
  std::optional<ResponseParser> answer;  // while it is being read
  std::string body;                      // of the answer, what came and was not handed over
  bool keep_alive = true;                // as the request said
  bool fresh = false;                    // connected, and nothing was asked yet
  bool busy = false;
  bool late = false;    // the deadline of the operation has passed
  bool closed = false;  // by the client's owner, in the middle of an operation
};

namespace {

// One operation on the connection, which it ends at its deadline and when it fails.
template <class State>
class Operation {
 public:
  Operation(State& state, Instant deadline) : state_(state) {
    assert(!state.busy && "one operation at a time");
    state.busy = true;
    state.late = state.closed = false;
    alarm_ = state.clock.set_alarm(deadline, state.executor, [&state] {
      state.late = true;
      state.close();
    });
  }
  ~Operation() {
    state_.busy = false;
    if (!done_) state_.give_up();
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  void succeed() { done_ = true; }

 private:
  State& state_;
  std::unique_ptr<Alarm> alarm_;
  bool done_ = false;
};

}  // namespace

void Client::State::close() {
  error_code ignored;
  fresh = false;
  resolver.cancel();
  socket.close(ignored);
  input.clear();
}

void Client::State::give_up() {
  close();
  answer.reset();
  body.clear();
}

void Client::State::fail(const std::string& what) {
  const std::string where = (rules.trust != nullptr ? "https://" : "http://") + host_field;
  if (late) throw Error(ErrorCode::call_timeout, where + " did not answer in time");
  throw Error(ErrorCode::connection_failed, where + ": " + what);
}

Async<void> Client::State::connect() {
  error_code error;
  const auto literal = asio::ip::make_address(address.host, error);
  std::string not_public;
  tls.reset();
  std::vector<tcp::endpoint> endpoints;
  if (!error) {
    endpoints.emplace_back(literal, address.port);
  } else {
    const auto found = co_await resolver.async_resolve(address.host, std::to_string(address.port),
                                                       asio::redirect_error(asio::use_awaitable, error));
    if (error) fail("the name was not found: " + error.message());
    for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  }
  for (const tcp::endpoint& endpoint : endpoints) {
    error_code ignored;
    socket.close(ignored);
    if (late || closed) break;
    if (rules.only_public && !is_public(endpoint.address())) {
      not_public = endpoint.address().to_string();
      continue;
    }
    socket.open(endpoint.protocol(), error);
    if (error) continue;
    ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      socket.set_option(tcp::no_delay(true), ignored);
      if (rules.trust != nullptr) co_await shake_hands();
      co_return;
    }
  }
  if (!not_public.empty() && !late) fail("its address " + not_public + " is not one of the public Internet");
  fail("no connection: " + error.message());
}

Async<void> Client::State::shake_hands() {
  refused_certificate.clear();
  tls = make_tls_stream(socket, *rules.trust, address.host, refused_certificate);
  error_code error;
  co_await tls->async_handshake(TlsStream::client, asio::redirect_error(asio::use_awaitable, error));
  if (!error) co_return;
  if (refused_certificate.empty() || late) fail("no TLS: " + error.message());
  throw Error(ErrorCode::connection_failed,
              "https://" + host_field + ": certificate verify failed: " + refused_certificate,
              {{"certificate", refused_certificate}});
}

Async<void> Client::State::write(const Request& request) {
  std::string head;
  append_request_head(head, request, host_field);
  const std::array buffers{asio::buffer(std::as_const(head)), asio::buffer(request.body)};
  error_code ignored;
  if (tls) {
    co_await asio::async_write(*tls, buffers, asio::redirect_error(asio::use_awaitable, ignored));
  } else {
    co_await asio::async_write(socket, buffers, asio::redirect_error(asio::use_awaitable, ignored));
  }
}

// Reads more into `input` and returns how much came.
Async<std::size_t> Client::State::receive(error_code& error) {
  const std::size_t before = input.size();
  input.resize(before + read_bytes);
  const auto free = asio::buffer(input.data() + before, read_bytes);
  std::size_t count = 0;
  if (tls) {
    count = co_await tls->async_read_some(free, asio::redirect_error(asio::use_awaitable, error));
  } else {
    count = co_await socket.async_read_some(free, asio::redirect_error(asio::use_awaitable, error));
  }
  input.resize(before + count);
  co_return count;
}

void Client::State::await_answer(bool to_head) {
  answer.emplace(header_bytes, to_head, [this](int, std::string_view piece) {
    body += piece;
    return true;
  });
}

// Sends one request on the open connection and reads the head of its answer; false where the connection ended before
// any of that came.
Async<bool> Client::State::begin(const Request& request) {
  // A server may refuse a request before it has read all of it, so a failed write does not end the attempt.
  co_await write(request);
  const bool to_head = request.method == Method::head;
  await_answer(to_head);
  for (bool begun = false; !answer->is_header_done(); begun = true) {
    error_code error;
    const std::size_t count = co_await receive(error);
    if (late) fail({});
    if (count == 0 && !begun) co_return false;
    if (error && error != asio::error::eof) fail(error.message());
    if (count == 0) answer->consume_end();
    input.erase(0, answer->consume(input));
    while (answer->is_interim()) {
      await_answer(to_head);
      if (!input.empty()) input.erase(0, answer->consume(input));
    }
  }
  co_return true;
}

// Whether a connection that was kept alive still stands; what came on it unasked makes it useless too. A server that
// speaks TLS 1.3 sends its session tickets before it was asked anything, and then no more.
bool Client::State::is_usable(bool is_fresh) {
  if (!socket.is_open() || !input.empty()) return false;
  char byte = 0;
  const ssize_t got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 ? errno == EAGAIN : got > 0 && tls && is_fresh;
}

Async<Response> Client::State::open(Request request) {
  assert(!answer && "the last answer was not read");
  body.clear();
  // A connection that was kept may have been closed just now, which one that was just made was not.
  const bool was_fresh = std::exchange(fresh, false);
  const bool stands = is_usable(was_fresh);
  bool kept = stands && !was_fresh;
  if (!stands) {
    close();
    co_await connect();
  }
  while (!co_await begin(request)) {
    if (closed || !std::exchange(kept, false) || !is_repeatable(request)) {
      fail("the connection was closed without an answer");
    }
    close();
    co_await connect();
  }
  keep_alive = request.keep_alive;
  co_return answer->take();
}

Async<std::string> Client::State::read() {
  if (!answer) fail("the connection was closed within the answer");
  while (body.empty() && !answer->is_done()) {
    error_code error;
    const std::size_t count = co_await receive(error);
    if (late) fail({});
    if (error && error != asio::error::eof) fail(error.message());
    if (count == 0) {
      answer->consume_end();
      break;
    }
    input.erase(0, answer->consume(input));
  }
  if (body.empty()) {
    if (!keep_alive || !answer->keep_alive()) close();
    answer.reset();
  }
  co_return std::exchange(body, {});
}

Client::Client(Executor executor, Clock& clock, Address address, ClientRules rules)
    : state_(std::make_shared<State>(std::move(executor), clock, std::move(address), rules)) {}

Client::~Client() {
  close();
}

void Client::close() {
  state_->closed = true;
  if (state_->busy) {
    state_->close();  // the operation gives up by itself
  } else {
    state_->give_up();
  }
}

Async<void> Client::connect(Instant deadline) {
  const auto state = state_;
  if (state->is_usable(state->fresh)) co_return;
  Operation operation(*state, deadline);
  state->close();
  co_await state->connect();
  state->fresh = true;
  operation.succeed();
}

Async<Response> Client::open(Request request, Instant deadline) {
  const auto state = state_;
  Operation operation(*state, deadline);
  Response head = co_await state->open(std::move(request));
  operation.succeed();
  co_return head;
}

Async<std::string> Client::read(Instant deadline) {
  const auto state = state_;
  Operation operation(*state, deadline);
  std::string piece = co_await state->read();
  operation.succeed();
  co_return piece;
}

Async<Response> Client::send(Request request, Instant deadline, std::size_t body_limit) {
  Response response = co_await open(std::move(request), deadline);
  for (std::string piece = co_await read(deadline); !piece.empty(); piece = co_await read(deadline)) {
    if (response.body.size() + piece.size() > body_limit) {
      close();
      throw Error(ErrorCode::too_large, "the answer's body is larger than " + std::to_string(body_limit) + " bytes");
    }
    response.body += piece;
  }
  co_return response;
}

}  // namespace sojourn::http
