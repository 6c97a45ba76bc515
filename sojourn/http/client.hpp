#pragma once

#include <memory>
#include <string>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/http/message.hpp"
#include "sojourn/http/tls.hpp"

// A client of one server: one connection, kept alive, one request at a time.
namespace sojourn::http {

struct Address {
  std::string host;
  std::uint16_t port = 80;
};

// Reads "http://HOST:PORT" or "HOST:PORT". Errors: invalid_request.
Address parse_address(std::string_view text);

struct ClientRules {
  const TlsTrust* trust = nullptr;  // speaks TLS, and verifies the server's certificate by this
  bool only_public = false;         // connects to addresses of the public Internet only, whatever a name leads to
};

class Client {
 public:
  // Lifetime: rules.trust outlives it.
  Client(Executor executor, Clock& clock, Address address, ClientRules rules = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Connects, unless the connection that was kept still stands. What fails here has sent nothing.
  // Errors: connection_failed, with details {"certificate": why} for one that is not trusted; call_timeout at
  //         `deadline`.
  Async<void> connect(Instant deadline);

  // Sends the request and returns the whole answer, whatever its status. Connects when it must; a kept-alive
  // connection that the server closed meanwhile is opened anew once. A request that may have reached the server is
  // sent again only if that does no harm: any but POST and PATCH, and those with an Idempotency-Key. Errors:
  // connection_failed, call_timeout at `deadline`, too_large for an answer past `body_limit`.
  Async<Response> send(Request request, Instant deadline, std::size_t body_limit = 64u << 20);

  // Likewise, but returns as soon as the head of the answer is there. The body is to be read() up to its end, or
  // given up by close(), before anything else is asked.
  Async<Response> open(Request request, Instant deadline);

  // What came of the body, at least one byte; nothing at its end.
  // Errors: connection_failed, call_timeout at `deadline`; the rest of the body is then lost.
  Async<std::string> read(Instant deadline);

  // Closes the connection; a request that runs fails with connection_failed.
  void close();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sojourn::http
