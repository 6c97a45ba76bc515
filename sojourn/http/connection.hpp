#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/event.hpp"
#include "sojourn/http/message_parser.hpp"
#include "sojourn/http/serialize.hpp"
#include "sojourn/http/server.hpp"

// One client's connection on the server's side. Private to this room.
namespace sojourn::http {

class Connection;

// What all connections of a server share.
struct Service {
  Clock& clock;
  const Log& log;
  ServerLimits limits;
  Handler handler;
  std::function<Response(const Error&)> on_error;
  DateText date;
  bool draining;  // each connection closes after the answer it is at
  std::list<Connection*> connections;
  ServerStatistics statistics;  // but for the number of connections
  Event connection_left;
};

// The bytes that came in and are not yet used.
class InputBuffer {
 public:
  explicit InputBuffer(std::size_t full_size) : full_size_(full_size) {}

  std::string_view bytes() const { return {storage_.data() + begin_, end_ - begin_}; }
  void consume(std::size_t count);

  // Free room behind the bytes, at least `wanted` bytes of it unless the buffer has its full size.
  std::span<char> room(std::size_t wanted);
  void filled(std::size_t count) { end_ += count; }

  // Gives back what a large request needed.
  void shrink();

 private:
  std::size_t full_size_;
  std::vector<char> storage_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

// Reads requests, runs the handler for one after the other, and writes the answers.
//
// Time is kept by one deadline, which the server's sweep looks at once a second: no timer is set for a request.
class Connection final : public Responder, public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, Service& service);
  ~Connection() override;

  // Serves requests until the client closes, breaks a rule or is too slow, or the server drains. Throws nothing.
  // Lifetime: the caller owns this until it returns.
  Async<void> serve();

  // Answers `error` to whatever comes, and closes. Otherwise as serve().
  Async<void> turn_away(Error error);

  // For the sweep: what waits past its deadline stops waiting.
  void check_deadline(Instant now);

  // For draining: ends the wait for a request that has not begun.
  void close_if_idle();

  Async<void> send(Response response) override;
  using Responder::start;
  Async<void> start(Response head, std::optional<std::uint64_t> length) override;
  Async<void> write(std::string chunk) override;
  Async<std::string> read() override;
  Async<void> client_gone() override;

 private:
  enum class Reading { none, idle, request, discarding };
  enum class Answer { none, sent, streaming, broken };

  bool parse(std::optional<Error>& refusal);
  Async<bool> read_more(std::optional<Error>& refusal);
  Async<void> read_body();
  Async<void> invite_body();
  void end_request();
  Async<void> answer();
  Async<void> serve_requests();
  Async<void> end_answer(std::optional<Error> failure);
  Async<void> refuse(Error error);
  void release_watchers();
  Async<void> linger();
  Async<std::size_t> read_some();
  Async<void> write_all(std::string_view first, std::string_view second = {}, std::string_view third = {});
  Async<void> wait_for_client();
  void begin_head(const Response& response, BodyFraming framing, std::optional<std::uint64_t> length);
  [[noreturn]] void break_off(const std::string& why);
  void leave();

  boost::asio::ip::tcp::socket socket_;
  Service& service_;
  std::optional<std::list<Connection*>::iterator> place_;  // nothing once it left

  InputBuffer input_;
  std::string output_;                   // scratch for heads and small bodies; kept for its capacity
  std::optional<RequestParser> parser_;  // of what is being read; of a body that streams until its answer ends
  Reading reading_ = Reading::none;
  Instant deadline_ = Instant::max();
  bool expired_ = false;
  bool continued_ = false;  // "100 Continue" was sent for this request

  // Of the request that the handler is at.
  Answer answer_ = Answer::none;
  bool is_head_ = false;
  bool http_1_1_ = true;
  bool keep_alive_ = true;
  bool bodyless_ = false;
  bool chunked_ = false;
  bool has_unread_body_ = false;
  std::optional<std::uint64_t> rest_;  // bytes that an answer of a given length still lacks
  bool writing_ = false;
  bool handling_ = false;
  bool gone_ = false;
  unsigned watchers_ = 0;  // coroutines within client_gone()
  Event watcher_ended_;
  Event handler_ended_;
};

}  // namespace sojourn::http
