// A whole connection: whatever a client sends, in whatever pieces, through parser and routes into a runtime in
// memory, it is answered in valid HTTP, never by a defect of ours, and the connection ends.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "expect.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/http/connection.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/wire.hpp"
#include "sojourn/store/memory_store.hpp"

namespace {

namespace asio = boost::asio;
using namespace sojourn;

class Echo final : public session::Worker {
 public:
  Async<Json> call(session::CallScope& scope) override {
    scope.session().set("input", scope.request().input);
    co_return scope.request().input;
  }
  Async<void> close(session::CloseReason, Instant) override { co_return; }
  void kill(const Error&) override {}
};

class EchoApp final : public session::App {
 public:
  const session::AppInfo& info() const override { return info_; }
  Async<std::unique_ptr<session::Worker>> open(session::Opening, Instant) override {
    co_return std::make_unique<Echo>();
  }

 private:
  session::AppInfo info_{.name = "app"};
};

// `text` with each `name` in it replaced by the id that it stands for, since an input cannot know ids.
std::string with_names(std::string text, std::string_view name, const std::string& id) {
  for (std::size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += id.size()) {
    text.replace(at, name.size(), id);
  }
  return text;
}

// What one connection came to.
struct Talk {
  std::vector<std::string> requests;  // method, target and body of each that was whole
  std::string answers;
  bool asked_for_head = false;
};

class Conversation {
 public:
  Conversation() {
    std::array<int, 2> ends{};
    expect(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0,
           "there is a socket");
    client_ = ends[0];
    asio::ip::tcp::socket socket(loop_.executor());
    socket.assign(asio::ip::tcp::v4(), ends[1]);
    connection_ = std::make_shared<http::Connection>(std::move(socket), service_);
  }
  ~Conversation() { ::close(client_); }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  Talk hold(std::string_view bytes, std::size_t piece) {
    loop_.run(talk(bytes, piece));
    return std::move(talk_);
  }

 private:
  static Async<void> serve(std::shared_ptr<http::Connection> connection) { co_await connection->serve(); }

  static http::Response on_error(const Error& error) {
    expect(error.code() != ErrorCode::internal_error, "no request meets a defect");
    return server::error_response(error);
  }

  Async<void> handle(http::Request request, http::Responder& responder) {
    talk_.asked_for_head |= request.method == http::Method::head;
    talk_.requests.push_back(std::string(http::to_string(request.method)) + " " + request.target + " " +
                             request.body);
    return api_.handle(std::move(request), responder);
  }

  Async<void> talk(std::string_view given, std::size_t piece) {
    runtime_.add_app(std::make_shared<EchoApp>());
    const runtime::TaskView first = co_await runtime_.run({.app = "app", .input = 1, .session = "new"});
    const std::string input =
        with_names(with_names(std::string(given), "SESSION", first.task.session_id), "TASK", first.task.id);
    std::string_view bytes = input;
    TaskGroup group(loop_.executor());
    group.spawn(serve(connection_));
    while (!bytes.empty() && group.size() > 0) {
      const ssize_t sent = ::send(client_, bytes.data(), std::min(piece, bytes.size()), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) break;
      if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
      co_await go_on();
    }
    ::shutdown(client_, SHUT_WR);
    for (int turn = 0; group.size() > 0; ++turn) {
      expect(turn < 1'000, "the connection ends");
      co_await go_on();
      if (turn < 10) continue;
      clock_.advance(Seconds(1));
      if (group.size() > 0) connection_->check_deadline(clock_.instant());
    }
    co_await group.join();
    take_answers();
    co_await runtime_.close(clock_.instant());
  }

  Async<void> go_on() {
    for (int i = 0; i < 6; ++i) co_await asio::post(asio::use_awaitable);
    take_answers();
  }

  void take_answers() {
    std::array<char, 16 * 1024> room;
    for (ssize_t count = 0; (count = ::recv(client_, room.data(), room.size(), 0)) > 0;) {
      talk_.answers.append(room.data(), static_cast<std::size_t>(count));
    }
  }

  Loop loop_;
  ManualClock clock_;
  SeededRandom random_{7};
  Log log_ = Log::silent();
  store::MemoryStore store_;
  runtime::Runtime runtime_{loop_.executor(), store_, clock_, random_, log_, {}};
  server::Api api_{runtime_, store_, clock_, {.keys = {}, .stream = {.heartbeat = Seconds(15), .linger = {}}}};
  Talk talk_;
  http::Service service_{
      .clock = clock_,
      .log = log_,
      .limits = {.header_bytes = 2048, .body_bytes = 4096},
      .handler = [this](http::Request request,
                        http::Responder& responder) { return handle(std::move(request), responder); },
      .on_error = on_error,
      .date = {},
      .draining = false,
      .connections = {},
      .connection_left = {}};
  int client_ = -1;
  std::shared_ptr<http::Connection> connection_;
};

// That they are whole answers, one behind the other.
void check_answers(std::string_view answers) {
  while (!answers.empty()) {
    http::ResponseParser parser(16 * 1024, false, [](int, std::string_view) { return true; });
    while (!parser.is_done()) {
      const std::size_t used = parser.consume(answers);
      expect(used > 0, "an answer is whole");
      answers.remove_prefix(used);
    }
    if (parser.is_interim()) continue;
    const int status = parser.take().status;
    expect(status >= 200 && status < 600 && status != 500, "an answer has a status of its own");
  }
}

}  // namespace

// The first byte says how large the pieces are that the rest comes in; SESSION and TASK stand for a session with a
// call.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Talk at_once = Conversation().hold(bytes, size);
  const Talk in_pieces = Conversation().hold(bytes, data[0] % 64 + 1u);
  // What is refused may be refused sooner in one of them; up to there both hear the same.
  const std::size_t both = std::min(at_once.requests.size(), in_pieces.requests.size());
  expect(std::equal(at_once.requests.begin(), at_once.requests.begin() + static_cast<std::ptrdiff_t>(both),
                    in_pieces.requests.begin()),
         "pieces do not matter");
  if (!at_once.asked_for_head) check_answers(at_once.answers);
  if (!in_pieces.asked_for_head) check_answers(in_pieces.answers);
  return 0;
}
