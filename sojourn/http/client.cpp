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
#include "sojourn/http/serialize.hpp"

namespace sojourn::http {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using OnData = std::function<bool(int status, std::string_view)>;

constexpr std::size_t header_bytes = 64 * 1024;
constexpr std::size_t read_bytes = 64 * 1024;
constexpr std::size_t failure_body_bytes = 1024 * 1024;  // kept of an answer that was to be streamed but failed

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
  State(Executor executor_, Clock& clock_, Address address_)
      : executor(executor_), clock(clock_), address(std::move(address_)), resolver(executor_), socket(executor_) {
    const bool is_ipv6 = address.host.find(':') != std::string::npos;
    host_field = (is_ipv6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
  }

  Async<Response> exchange(Request request, Instant deadline, OnData on_data);
  Async<void> connect();
  Async<std::optional<Response>> attempt(const Request& request, const OnData& on_data);
  Async<void> write(const Request& request);
  Async<std::size_t> read(error_code& error);
  bool is_usable();
  [[noreturn]] void fail(const std::string& what);
  void close();

  Executor executor;
  Clock& clock;
  Address address;
  std::string host_field;
  tcp::resolver resolver;
  tcp::socket socket;
  std::string input;  // what came and is not used yet
  bool busy = false;
  bool late = false;    // the deadline of the request has passed
  bool closed = false;  // by the client's owner, in the middle of a request
};

void Client::State::close() {
  error_code ignored;
  resolver.cancel();
  socket.close(ignored);
  input.clear();
}

void Client::State::fail(const std::string& what) {
  if (late) throw Error(ErrorCode::call_timeout, "http://" + host_field + " did not answer in time");
  throw Error(ErrorCode::connection_failed, "http://" + host_field + ": " + what);
}

Async<void> Client::State::connect() {
  error_code error;
  const auto literal = asio::ip::make_address(address.host, error);
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
    socket.open(endpoint.protocol(), error);
    if (error) continue;
    ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      socket.set_option(tcp::no_delay(true), ignored);
      co_return;
    }
  }
  fail("no connection: " + error.message());
}

Async<void> Client::State::write(const Request& request) {
  std::string head;
  append_request_head(head, request, host_field);
  const std::array buffers{asio::buffer(std::as_const(head)), asio::buffer(request.body)};
  error_code ignored;
  co_await asio::async_write(socket, buffers, asio::redirect_error(asio::use_awaitable, ignored));
}

// Reads more into `input` and returns how much came.
Async<std::size_t> Client::State::read(error_code& error) {
  const std::size_t before = input.size();
  input.resize(before + read_bytes);
  const std::size_t count = co_await socket.async_read_some(asio::buffer(input.data() + before, read_bytes),
                                                            asio::redirect_error(asio::use_awaitable, error));
  input.resize(before + count);
  co_return count;
}

// One request on the open connection; nothing where the connection ended before any of the answer came.
Async<std::optional<Response>> Client::State::attempt(const Request& request, const OnData& on_data) {
  // A server may refuse a request before it has read all of it, so a failed write does not end the attempt.
  co_await write(request);
  std::optional<ResponseParser> parser(std::in_place, header_bytes, request.method == Method::head, on_data);
  for (bool begun = false;; begun = true) {
    error_code error;
    const std::size_t count = co_await read(error);
    if (late) fail({});
    if (count == 0 && !begun) co_return std::nullopt;
    if (error && error != asio::error::eof) fail(error.message());
    if (count == 0) {
      parser->consume_end();
      break;
    }
    input.erase(0, parser->consume(input));
    while (parser->is_interim()) {
      parser.emplace(header_bytes, request.method == Method::head, on_data);
      if (!input.empty()) input.erase(0, parser->consume(input));
    }
    if (parser->stopped() || parser->is_done()) break;
  }
  if (!request.keep_alive || parser->stopped() || !parser->keep_alive()) close();
  co_return parser->take();
}

// Whether a connection that was kept alive still stands; what came on it unasked makes it useless too.
bool Client::State::is_usable() {
  if (!socket.is_open() || !input.empty()) return false;
  char byte = 0;
  return ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

Async<Response> Client::State::exchange(Request request, Instant deadline, OnData on_data) {
  assert(!busy && "one request at a time");
  busy = true;
  late = closed = false;
  const auto alarm = clock.set_alarm(deadline, executor, [this] {
    late = true;
    close();
  });
  std::optional<Response> response;
  try {
    bool kept = is_usable();
    while (!response) {
      if (!kept) {
        close();
        co_await connect();
      }
      response = co_await attempt(request, on_data);
      if (!response && (closed || !kept || !is_repeatable(request)))
        fail("the connection was closed without an answer");
      kept = false;
    }
  } catch (...) {
    busy = false;
    close();
    throw;
  }
  busy = false;
  co_return std::move(*response);
}

Client::Client(Executor executor, Clock& clock, Address address)
    : state_(std::make_shared<State>(std::move(executor), clock, std::move(address))) {}

Client::~Client() {
  close();
}

void Client::close() {
  state_->closed = true;
  state_->close();
}

Async<Response> Client::send(Request request, Instant deadline, std::size_t body_limit) {
  const auto state = state_;
  std::string body;
  bool too_large = false;
  Response response = co_await state->exchange(std::move(request), deadline, [&](int, std::string_view piece) {
    too_large = body.size() + piece.size() > body_limit;
    if (!too_large) body += piece;
    return !too_large;
  });
  if (too_large) {
    throw Error(ErrorCode::too_large, "the answer's body is larger than " + std::to_string(body_limit) + " bytes");
  }
  response.body = std::move(body);
  co_return response;
}

Async<Response> Client::stream(Request request, Instant deadline, std::function<bool(std::string_view)> on_data) {
  const auto state = state_;
  std::string body;
  Response response = co_await state->exchange(std::move(request), deadline, [&](int status, std::string_view piece) {
    if (status == 200) return on_data(piece);
    body += piece.substr(0, failure_body_bytes - std::min(failure_body_bytes, body.size()));
    return true;
  });
  response.body = std::move(body);
  co_return response;
}

}  // namespace sojourn::http
