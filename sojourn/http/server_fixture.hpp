#pragma once

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/http/server.hpp"

// A server and raw clients as coroutines on one loop, with a clock that the test turns. For this room's tests only.
namespace sojourn::http {

// A client that sends and sees bytes.
class RawClient {
 public:
  explicit RawClient(const Executor& executor);

  Async<void> connect(std::uint16_t port);
  Async<void> send(std::string bytes);

  // The next answer of the server; nothing when it closed instead.
  Async<std::optional<Response>> receive(bool to_head = false);

  // The next bytes up to and with `end`.
  Async<std::string> receive_until(std::string end);

  // So many bytes, one read for each.
  Async<std::string> receive_singly(std::size_t count);

  // All further bytes until the server closes.
  Async<std::string> receive_rest();

  void half_close() { socket_.shutdown(boost::asio::socket_base::shutdown_send); }
  void close() { socket_.close(); }

  // Ends the connection by a reset, as a client does that dies.
  void reset();

 private:
  Async<bool> read(std::size_t most = 64 * 1024);

  SystemClock clock_;
  boost::asio::ip::tcp::socket socket_;
  std::string input_;
};

class ServerFixture : public testing::Test {
 protected:
  // Starts the server, runs `fact`, closes the server.
  void run(Async<void> fact);
  void start();

  // Lets all that is queued or readable run.
  static Async<void> settle();

  // Connects a client of its own and returns what the server answers to `bytes`, also after a refusal.
  Async<Response> ask(std::string bytes);
  Async<RawClient*> connect();

  // What the server does with a request is chosen by its target:
  //   /echo      answers the method, a space and the body
  //   /wait      waits for go_on_, then answers "waited"
  //   /throw     throws a conflict, /silent answers nothing, /twice answers twice
  //   /bad-field answers with a header field that holds a line break
  //   /large     answers 4 MiB; /empty answers 204
  //   /stream    streams one chunk at each go_on_, "one" to "three"; /stream-throw throws after the first
  //   /flood     streams 64 chunks of 1 MiB
  //   /watch     waits for go_on_ while client_gone() runs beside it
  //   /upload    reads a body piece by piece and answers it; /upload-slow waits for go_on_ before each piece;
  //              /upload-refuse reads nothing and throws; the pieces are counted in pieces_read_
  //   /sized     answers "0123456789" in two writes under that length; /short only "01234" of it
  //   /stubborn  waits for go_on_, and again when it is asked to stop, three times
  Async<void> handle(Request request, Responder& responder);
  Async<void> stream(Responder& responder, bool fails);
  Async<void> flood(Responder& responder);
  Async<void> upload(std::string target, Responder& responder);
  Async<void> note_gone(Responder& responder);
  Async<void> wait_stubbornly();
  static Response on_error(const Error& error);

  Loop loop_;
  ManualClock clock_;
  Log log_ = Log::silent();
  ServerLimits limits_;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  TaskGroup group_{loop_.executor()};
  Event go_on_;
  std::string notes_;
  int requests_ = 0;  // handed to the handler
  int chunks_written_ = 0;
  int pieces_read_ = 0;
  std::vector<std::unique_ptr<RawClient>> clients_;

 private:
  Async<void> with_server(Async<void> fact);
};

// A GET of `target` on a connection that is kept.
std::string get(const std::string& target);

// A POST of `body` to /echo.
std::string post(const std::string& body);

}  // namespace sojourn::http
