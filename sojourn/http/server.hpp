#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/http/message.hpp"

// Listens, reads requests within limits, hands each to a handler, writes the answer, keeps connections alive.
namespace sojourn::http {

// Where a handler puts its answer: either one response, or a stream of chunks.
// Threads: on the server's executor. Lifetime: until the handler returns.
class Responder {
 public:
  virtual ~Responder() = default;

  // The whole answer. Exactly one of send() and start() is called, once.
  // Errors: connection_failed when the client is gone; internal_error for a header field that cannot be written, and
  //         then nothing was sent.
  virtual Async<void> send(Response response) = 0;

  // Begins an answer (its body is ignored), to be continued by write(): chunked, or of `length` bytes. It ends when
  // the handler returns; if that throws, or wrote less, the connection is broken off, so that the client sees the
  // answer is cut off.
  virtual Async<void> start(Response head, std::optional<std::uint64_t> length) = 0;
  Async<void> start(Response head) { return start(std::move(head), std::nullopt); }

  // Sends `chunk` at once. Waits while the client reads too slowly, but not longer than ServerLimits::write_timeout
  // without progress.
  // Errors: connection_failed when the client is gone. Order: one write at a time.
  virtual Async<void> write(std::string chunk) = 0;

  // The next piece of a body that streams (ServerLimits::streams), at most about 64 KiB; "" after the last one. Reads
  // no faster than it is asked. A body that is not read to its end costs the client its connection.
  // Errors: connection_failed when the client is gone, request_timeout when nothing came for
  //         ServerLimits::read_timeout, too_large, invalid_request.
  virtual Async<std::string> read() = 0;

  // Returns when the client is gone (closed its side or broke off), at the latest when the handler returns. Requests
  // that the client sends ahead are kept; after about 64 KiB of them a close goes unnoticed.
  virtual Async<void> client_gone() = 0;
};

// Cancel: what still runs at the deadline of Server::close is asked to stop by terminal cancellation. From then on
//         each wait of it throws; close() returns when it has returned, so it must not try again without end.
using Handler = std::function<Async<void>(Request request, Responder& responder)>;

// The time-outs are kept to within a second.
struct ServerLimits {
  std::size_t header_bytes = 16 * limits::kibibyte;
  std::size_t body_bytes = limits::json_bytes;
  BodyStreams streams;
  Seconds read_timeout{30};          // a whole request, from its first byte; a piece of a body that streams
  Seconds idle_timeout{75};          // between requests
  Seconds write_timeout{60};         // of a write that makes no progress
  std::size_t connections = 20'000;  // further ones are answered 503 and closed
};

struct ServerStatistics {
  std::size_t connections = 0;    // open now
  std::uint64_t accepted = 0;     // connections since the start
  std::uint64_t turned_away = 0;  // of those, for want of room
  std::uint64_t refused = 0;      // requests that broke a rule of HTTP or a limit before a handler saw them
};

class Server {
 public:
  // All on `executor`. What the handler throws is answered by `on_error`; if that throws, the connection closes.
  Server(Executor executor, Clock& clock, const Log& log, ServerLimits limits, Handler handler,
         std::function<Response(const Error&)> on_error);
  ~Server();

  // Binds and listens; connections are accepted from then on.
  // Shape:  `host` is an IP address or "localhost"; port 0 picks a free one.
  // Errors: address_in_use, invalid_request (no such address), io_error.
  // Returns the port.
  std::uint16_t listen(const std::string& host, std::uint16_t port);

  ServerStatistics statistics() const;

  // Accepts no more. Requests that run go on; their connections close after the answer.
  void stop_accepting();

  // Lets running requests finish until `deadline`, then breaks their connections off. Idempotent.
  Async<void> close(Instant deadline);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sojourn::http
