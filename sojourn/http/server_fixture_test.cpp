#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "sojourn/http/message_parser.hpp"
#include "sojourn/http/server_fixture.hpp"

namespace sojourn::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

RawClient::RawClient(const Executor& executor) : socket_(executor, tcp::v4()) {}

Async<void> RawClient::connect(std::uint16_t port) {
  co_await socket_.async_connect({asio::ip::address_v4::loopback(), port}, asio::use_awaitable);
}

Async<void> RawClient::send(std::string bytes) {
  error_code ignored;  // what the server refuses early it does not read to its end
  co_await asio::async_write(socket_, asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, ignored));
}

// False once the server closed. A server that does neither within 10 s fails the test instead of holding it up.
Async<bool> RawClient::read(std::size_t most) {
  const auto alarm = clock_.set_alarm(clock_.instant() + Seconds(10), socket_.get_executor(), [this] {
    ADD_FAILURE() << "the server neither answers nor closes";
    socket_.close();
  });
  std::string piece(most, '\0');
  error_code error;
  const std::size_t count =
      co_await socket_.async_read_some(asio::buffer(piece), asio::redirect_error(asio::use_awaitable, error));
  EXPECT_NE(error, asio::error::connection_reset);
  input_.append(piece, 0, count);
  co_return !error;
}

Async<std::optional<Response>> RawClient::receive(bool to_head) {
  std::string body;
  ResponseParser parser(64 * 1024, to_head, [&](int, std::string_view piece) {
    body += piece;
    return true;
  });
  while (!parser.is_done()) {
    if (!input_.empty()) input_.erase(0, parser.consume(input_));
    if (parser.is_done()) break;
    if (!co_await read()) {
      if (!parser.got_some()) co_return std::nullopt;
      parser.consume_end();
    }
  }
  Response response = parser.take();
  response.body = std::move(body);
  co_return response;
}

Async<std::string> RawClient::receive_until(std::string end) {
  std::size_t at = 0;
  while ((at = input_.find(end)) == std::string::npos) {
    if (!co_await read()) {
      ADD_FAILURE() << "the server closed before '" << end << "'; it sent: " << input_;
      co_return std::string();
    }
  }
  const std::string bytes = input_.substr(0, at + end.size());
  input_.erase(0, bytes.size());
  co_return bytes;
}

Async<std::string> RawClient::receive_singly(std::size_t count) {
  while (input_.size() < count) {
    if (!co_await read(1)) {
      ADD_FAILURE() << "the server closed after " << input_.size() << " bytes";
      break;
    }
  }
  co_return std::exchange(input_, {});
}

void RawClient::reset() {
  socket_.set_option(asio::socket_base::linger(true, 0));
  socket_.close();
}

Async<std::string> RawClient::receive_rest() {
  while (co_await read()) {
  }
  co_return std::exchange(input_, {});
}

void ServerFixture::start() {
  server_ = std::make_unique<Server>(
      loop_.executor(), clock_, log_, limits_,
      [this](Request request, Responder& responder) { return handle(std::move(request), responder); }, &on_error);
  port_ = server_->listen("127.0.0.1", 0);
}

void ServerFixture::run(Async<void> fact) {
  loop_.run(with_server(std::move(fact)));
}

Async<void> ServerFixture::with_server(Async<void> fact) {
  start();
  std::exception_ptr failure;
  try {
    co_await std::move(fact);
  } catch (...) {
    failure = std::current_exception();
  }
  clients_.clear();
  go_on_.notify_all();
  co_await settle();
  co_await server_->close(clock_.instant());
  co_await group_.join();
  server_.reset();
  if (failure) std::rethrow_exception(failure);
}

Async<void> ServerFixture::settle() {
  for (int i = 0; i < 100; ++i) co_await asio::post(asio::use_awaitable);
}

Async<RawClient*> ServerFixture::connect() {
  RawClient* client = clients_.emplace_back(std::make_unique<RawClient>(loop_.executor())).get();
  co_await client->connect(port_);
  co_return client;
}

Async<Response> ServerFixture::ask(std::string bytes) {
  RawClient* client = co_await connect();
  co_await client->send(std::move(bytes));
  std::optional<Response> response = co_await client->receive();
  if (!response) ADD_FAILURE() << "the server closed without an answer";
  co_return response.value_or(Response{.status = 0, .headers = {}});
}

Async<void> ServerFixture::handle(Request request, Responder& responder) {
  const std::string& target = request.target;
  ++requests_;
  const auto text = [](std::string body) {
    return Response{.content_type = "text/plain", .body = std::move(body), .headers = {}};
  };
  if (target == "/echo") {
    co_await responder.send(text(std::string(to_string(request.method)) + " " + request.body));
  } else if (target == "/wait") {
    notes_ += "waiting ";
    co_await go_on_.wait();
    co_await responder.send(text("waited"));
  } else if (target == "/throw") {
    throw Error(ErrorCode::conflict, "on purpose");
  } else if (target == "/twice") {
    co_await responder.send(text("first"));
    co_await responder.send(text("second"));
  } else if (target == "/bad-field") {
    Response response = text("never seen");
    response.headers.add("X-Note", "a\r\nSet-Cookie: evil");
    co_await responder.send(std::move(response));
  } else if (target == "/large") {
    co_await responder.send(text(std::string(4 << 20, 'x')));
  } else if (target == "/empty") {
    co_await responder.send({.status = 204, .content_type = "", .headers = {}});
  } else if (target == "/stream" || target == "/stream-throw") {
    co_await stream(responder, target == "/stream-throw");
  } else if (target == "/flood") {
    co_await flood(responder);
  } else if (target.starts_with("/upload")) {
    co_await upload(target, responder);
  } else if (target == "/sized" || target == "/short") {
    co_await responder.start({.content_type = "text/plain", .headers = {}}, 10);
    co_await responder.write("01234");
    if (target == "/sized") co_await responder.write("56789");
  } else if (target == "/stubborn") {
    co_await wait_stubbornly();
  } else if (target == "/watch") {
    group_.spawn(note_gone(responder));
    co_await go_on_.wait();
    co_await responder.send(text("watched"));
  }
}

Async<void> ServerFixture::upload(std::string target, Responder& responder) {
  if (target == "/upload-refuse") throw Error(ErrorCode::conflict, "on purpose");
  std::string body;
  std::optional<Error> failure;
  try {
    for (;;) {
      if (target == "/upload-slow") co_await go_on_.wait();
      const std::string piece = co_await responder.read();
      if (piece.empty()) break;
      ++pieces_read_;
      body += piece;
    }
  } catch (const Error& error) {
    notes_ += std::string(info(error.code()).name) + " after " + std::to_string(body.size()) + " ";
    failure = error;
  }
  if (failure) throw Error(*failure);
  co_await responder.send({.content_type = "text/plain", .body = std::move(body), .headers = {}});
}

Async<void> ServerFixture::stream(Responder& responder, bool fails) {
  co_await responder.start({.content_type = "application/x-ndjson", .headers = {}});
  for (const char* chunk : {"one\n", "two\n", "three\n"}) {
    co_await responder.write(chunk);
    if (fails) throw Error(ErrorCode::conflict, "on purpose");
    co_await go_on_.wait();
  }
}

Async<void> ServerFixture::flood(Responder& responder) {
  try {
    co_await responder.start({.content_type = "text/plain", .headers = {}});
    for (; chunks_written_ < 64; ++chunks_written_) co_await responder.write(std::string(1 << 20, 'x'));
  } catch (const Error& error) {
    notes_ += info(error.code()).wire;
    throw;
  }
}

Async<void> ServerFixture::wait_stubbornly() {
  for (int turn = 0; turn < 3; ++turn) {
    try {
      co_await go_on_.wait();
    } catch (const std::exception&) {
      notes_ += "asked ";
    }
  }
}

Async<void> ServerFixture::note_gone(Responder& responder) {
  co_await responder.client_gone();
  notes_ += "gone ";
}

Response ServerFixture::on_error(const Error& error) {
  return {.status = info(error.code()).http_status, .body = to_text(error.to_json()), .headers = {}};
}

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

std::string post(const std::string& body) {
  return "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace sojourn::http
