#include "sojourn/http/connection.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sojourn::http {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t small_room = 4 * limits::kibibyte;
constexpr std::size_t large_room = 64 * limits::kibibyte;

// Up to this size a body is copied behind its head, which costs less than a second buffer in the system call.
constexpr std::size_t small_body = 16 * limits::kibibyte;

// Closing while bytes of the client are unread makes the kernel send a reset, which may destroy the answer.
constexpr Seconds linger_timeout{2};

// Counts one coroutine while it waits in client_gone(), however it leaves.
class Watching {
 public:
  Watching(unsigned& count, Event& ended) : count_(count), ended_(ended) { ++count_; }
  ~Watching() {
    --count_;
    ended_.notify_all();
  }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

 private:
  unsigned& count_;
  Event& ended_;
};

}  // namespace

void InputBuffer::consume(std::size_t count) {
  begin_ += count;
  if (begin_ == end_) begin_ = end_ = 0;
}

std::span<char> InputBuffer::room(std::size_t wanted) {
  if (storage_.size() - end_ < wanted) {
    if (begin_ > 0) std::memmove(storage_.data(), storage_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    const std::size_t needed = std::min(end_ + wanted, full_size_);
    if (storage_.size() < needed) storage_.resize(std::max(needed, small_room));
  }
  return std::span(storage_).subspan(end_);
}

void InputBuffer::shrink() {
  if (begin_ == end_ && storage_.size() > 2 * small_room) std::vector<char>(small_room).swap(storage_);
}

Connection::Connection(asio::ip::tcp::socket socket, Service& service)
    : socket_(std::move(socket)),
      service_(service),
      place_(service.connections.insert(service.connections.end(), this)),
      input_(service.limits.header_bytes + large_room) {}

Connection::~Connection() {
  leave();
}

void Connection::leave() {
  if (!place_) return;
  error_code ignored;
  socket_.close(ignored);
  service_.connections.erase(*std::exchange(place_, std::nullopt));
  service_.connection_left.notify_all();
}

Async<void> Connection::serve() {
  try {
    co_await serve_requests();
  } catch (const std::exception& error) {
    service_.log.debug("a connection was broken off", {{"reason", to_valid_utf8(error.what())}});
  }
  leave();
}

Async<void> Connection::turn_away(Error error) {
  try {
    co_await refuse(std::move(error));
  } catch (const std::exception& failure) {
    service_.log.debug("a connection was broken off", {{"reason", to_valid_utf8(failure.what())}});
  }
  leave();
}

Async<void> Connection::serve_requests() {
  std::optional<Error> refusal;
  while (keep_alive_) {
    if (parse(refusal)) {
      co_await answer();
    } else if (!refusal && !co_await read_more(refusal)) {
      co_return;
    }
    if (refusal) {
      ++service_.statistics.refused;
      co_await refuse(std::move(*refusal));
      co_return;
    }
  }
  if (!gone_ && (has_unread_body_ || !input_.bytes().empty())) co_await linger();
}

// Whether a whole request is there, or the header of one whose body streams.
bool Connection::parse(std::optional<Error>& refusal) {
  if (!parser_) {
    // Some clients send an empty line after a body.
    while (input_.bytes().starts_with("\r\n")) input_.consume(2);
    if (input_.bytes().empty()) return false;
    parser_.emplace(ParserLimits{service_.limits.header_bytes, service_.limits.body_bytes, &service_.limits.streams});
    continued_ = false;
  }
  if (input_.bytes().empty()) return false;
  try {
    input_.consume(parser_->consume(input_.bytes()));
  } catch (const Error& error) {
    refusal = error;
    return false;
  }
  return parser_->is_done() || (parser_->streams() && parser_->is_header_done());
}

// Waits for more bytes; false when there will be none.
Async<bool> Connection::read_more(std::optional<Error>& refusal) {
  const Reading reading = parser_ ? Reading::request : Reading::idle;
  if (reading == Reading::idle && service_.draining) co_return false;
  if (reading != reading_) {
    reading_ = reading;
    const bool idle = reading == Reading::idle;
    if (idle) input_.shrink();
    deadline_ = service_.clock.instant() + (idle ? service_.limits.idle_timeout : service_.limits.read_timeout);
  }
  if (parser_ && parser_->request().body.empty()) co_await invite_body();
  if (co_await read_some() > 0) co_return true;
  if (!expired_ || reading != Reading::request) co_return false;
  refusal = Error(ErrorCode::request_timeout, "the request did not arrive whole within " +
                                                  std::to_string(service_.limits.read_timeout.count()) + " s");
  co_return true;
}

// Tells a client that waits for it to send its body.
Async<void> Connection::invite_body() {
  if (!parser_->expects_continue() || std::exchange(continued_, true) || !input_.bytes().empty()) co_return;
  const Instant deadline = deadline_;
  co_await write_all("HTTP/1.1 100 Continue\r\n\r\n");
  deadline_ = deadline;
}

Async<std::string> Connection::read() {
  while (parser_ && parser_->streams()) {
    std::string piece = parser_->take_piece();
    if (!piece.empty() || parser_->is_done()) co_return piece;
    const std::size_t used = input_.bytes().empty() ? 0 : parser_->consume(input_.bytes());
    input_.consume(used);
    if (used == 0) co_await read_body();
  }
  co_return "";
}

// Waits for more of the body.
Async<void> Connection::read_body() {
  co_await invite_body();
  deadline_ = service_.clock.instant() + service_.limits.read_timeout;
  const std::size_t count = co_await read_some();
  deadline_ = Instant::max();
  if (count > 0) co_return;
  if (expired_) {
    throw Error(ErrorCode::request_timeout, "nothing of the request's body came for " +
                                                std::to_string(service_.limits.read_timeout.count()) + " s");
  }
  throw Error(ErrorCode::connection_failed, "the client closed the connection within the request's body");
}

Async<std::size_t> Connection::read_some() {
  std::size_t wanted = small_room;
  if (parser_ && parser_->is_header_done()) {
    const auto rest = parser_->content_length_remaining();
    wanted = rest ? std::clamp<std::size_t>(*rest, small_room, large_room) : large_room;
  }
  const std::span<char> room = input_.room(wanted);
  expired_ = false;
  error_code error;
  const std::size_t count = co_await socket_.async_read_some(asio::buffer(room.data(), room.size()),
                                                             asio::redirect_error(asio::use_awaitable, error));
  input_.filled(count);
  co_return error ? 0 : count;
}

Async<void> Connection::answer() {
  Request request = parser_->take();
  http_1_1_ = parser_->is_http_1_1();
  if (!parser_->streams()) parser_.reset();
  is_head_ = request.method == Method::head;
  keep_alive_ = request.keep_alive;
  reading_ = Reading::none;
  deadline_ = Instant::max();
  answer_ = Answer::none;
  handling_ = true;
  std::optional<Error> failure;
  try {
    co_await service_.handler(std::move(request), *this);
  } catch (...) {
    failure = to_error(std::current_exception());
  }
  handling_ = false;
  release_watchers();
  while (watchers_ > 0) co_await watcher_ended_.wait();
  co_await end_answer(std::move(failure));
  end_request();
  if (gone_) keep_alive_ = false;
}

// Behind a body that was not read to its end no other request can be found.
void Connection::end_request() {
  has_unread_body_ = parser_ && !parser_->is_done();
  if (has_unread_body_) keep_alive_ = false;
  parser_.reset();
}

Async<void> Connection::end_answer(std::optional<Error> failure) {
  switch (answer_) {
    case Answer::none:
      if (!failure) failure.emplace(ErrorCode::internal_error, "the request's handler gave no answer");
      co_await send(service_.on_error(*failure));
      break;
    case Answer::sent:
      if (failure) {
        service_.log.warning("a request's handler failed after its answer", {{"error", failure->to_json()}});
      }
      break;
    case Answer::streaming:
      if (failure) {
        // Without its last chunk the client sees that the answer is cut off.
        service_.log.warning("a streamed answer was broken off", {{"error", failure->to_json()}});
        keep_alive_ = false;
      } else if (rest_.value_or(0) > 0 && !bodyless_) {
        service_.log.warning("an answer is shorter than it said", {{"missing", *rest_}});
        keep_alive_ = false;
      } else if (chunked_ && !bodyless_) {
        co_await write_all("0\r\n\r\n");
      }
      break;
    case Answer::broken:
      keep_alive_ = false;
      break;
  }
}

// Whoever still waits in client_gone() returns, and must have done so before the next request is read.
void Connection::release_watchers() {
  if (watchers_ == 0) return;
  error_code ignored;
  socket_.cancel(ignored);
  handler_ended_.notify_all();
}

Async<void> Connection::refuse(Error error) {
  parser_.reset();
  answer_ = Answer::none;
  is_head_ = false;
  keep_alive_ = false;
  co_await send(service_.on_error(error));
  co_await linger();
}

Async<void> Connection::linger() {
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  reading_ = Reading::discarding;
  deadline_ = service_.clock.instant() + linger_timeout;
  do {
    input_.consume(input_.bytes().size());
  } while (co_await read_some() > 0);
}

void Connection::check_deadline(Instant now) {
  // What a large answer needed is not held by one of thousands that rest.
  if (reading_ == Reading::idle && output_.capacity() > small_room) std::string().swap(output_);
  if (now < deadline_) return;
  expired_ = true;
  error_code ignored;
  socket_.cancel(ignored);
}

void Connection::close_if_idle() {
  if (reading_ != Reading::idle) return;
  error_code ignored;
  socket_.cancel(ignored);
}

// Puts the head into output_ and settles how the body will end.
void Connection::begin_head(const Response& response, BodyFraming framing, std::optional<std::uint64_t> length) {
  if (answer_ != Answer::none) throw Error(ErrorCode::internal_error, "a request's handler answered twice");
  const bool is_read = !parser_ || parser_->is_done();
  keep_alive_ = keep_alive_ && is_read && !service_.draining && framing != BodyFraming::until_close;
  bodyless_ = is_head_ || response.status == 204 || response.status == 304;
  if (output_.capacity() > 4 * small_body) std::string().swap(output_);
  output_.clear();
  append_response_head(output_, response, service_.date.at(service_.clock.now()),
                       {.body = framing, .keep_alive = keep_alive_, .http_1_1 = http_1_1_, .length = length});
}

Async<void> Connection::send(Response response) {
  begin_head(response, BodyFraming::length, std::nullopt);
  answer_ = Answer::sent;
  if (bodyless_) {
    co_await write_all(output_);
  } else if (response.body.size() <= small_body) {
    output_ += response.body;
    co_await write_all(output_);
  } else {
    co_await write_all(output_, response.body);
  }
}

Async<void> Connection::start(Response head, std::optional<std::uint64_t> length) {
  chunked_ = !length && http_1_1_ && head.status != 204 && head.status != 304;
  rest_ = length;
  const BodyFraming open_end = chunked_ ? BodyFraming::chunked : BodyFraming::until_close;
  begin_head(head, length ? BodyFraming::length : open_end, length);
  answer_ = Answer::streaming;
  co_await write_all(output_);
}

Async<void> Connection::write(std::string chunk) {
  if (answer_ != Answer::streaming) {
    if (answer_ == Answer::broken) break_off("the client is gone");
    throw Error(ErrorCode::internal_error, "a request's handler wrote a chunk outside a stream");
  }
  // An empty chunk would be the last one.
  if (bodyless_ || chunk.empty()) co_return;
  if (rest_) {
    if (chunk.size() > *rest_) throw Error(ErrorCode::internal_error, "an answer is longer than it said");
    *rest_ -= chunk.size();
  }
  if (!chunked_) {
    co_await write_all(chunk);
    co_return;
  }
  output_.clear();
  append_chunk_head(output_, chunk.size());
  if (chunk.size() <= small_body) {
    output_.append(chunk).append("\r\n");
    co_await write_all(output_);
  } else {
    co_await write_all(output_, chunk, "\r\n");
  }
}

Async<void> Connection::write_all(std::string_view first, std::string_view second, std::string_view third) {
  assert(!writing_ && "one write at a time");
  std::array<std::string_view, 3> parts{first, second, third};
  for (std::size_t at = 0; at < parts.size();) {
    std::array<iovec, 3> vectors;
    for (std::size_t i = at; i < parts.size(); ++i) {
      vectors[i] = {const_cast<char*>(parts[i].data()), parts[i].size()};
    }
    msghdr message{};
    message.msg_iov = vectors.data() + at;
    message.msg_iovlen = parts.size() - at;
    // Nearly every answer fits the kernel's buffer, and then there is nothing to wait for.
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) break_off(std::strerror(errno));
      co_await wait_for_client();
      continue;
    }
    std::size_t rest = static_cast<std::size_t>(sent);
    for (; at < parts.size() && rest >= parts[at].size(); ++at) rest -= parts[at].size();
    if (at < parts.size()) parts[at].remove_prefix(rest);
  }
}

Async<void> Connection::wait_for_client() {
  writing_ = true;
  expired_ = false;
  deadline_ = service_.clock.instant() + service_.limits.write_timeout;
  error_code error;
  co_await socket_.async_wait(asio::socket_base::wait_write, asio::redirect_error(asio::use_awaitable, error));
  deadline_ = Instant::max();
  writing_ = false;
  if (expired_ && error) {
    break_off("the client took nothing for " + std::to_string(service_.limits.write_timeout.count()) + " s");
  }
  if (error) break_off(error.message());
}

void Connection::break_off(const std::string& why) {
  answer_ = Answer::broken;
  gone_ = true;
  error_code ignored;
  socket_.cancel(ignored);
  throw Error(ErrorCode::connection_failed, "the answer could not be written: " + why);
}

Async<void> Connection::client_gone() {
  const auto self = shared_from_this();
  const Watching watching(watchers_, watcher_ended_);
  while (handling_ && !gone_) {
    // What a pipelining client sends on is kept for its turn. A full buffer keeps us from noticing anything further.
    const std::span<char> room = input_.room(1);
    if (room.empty()) {
      co_await handler_ended_.wait();
      continue;
    }
    const ssize_t count = ::recv(socket_.native_handle(), room.data(), room.size(), MSG_DONTWAIT);
    if (count > 0) {
      input_.filled(static_cast<std::size_t>(count));
    } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
      error_code error;
      co_await socket_.async_wait(asio::socket_base::wait_read, asio::redirect_error(asio::use_awaitable, error));
    } else {
      gone_ = true;
    }
  }
}

}  // namespace sojourn::http
