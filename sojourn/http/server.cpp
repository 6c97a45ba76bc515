#include "sojourn/http/server.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sojourn/base/event.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/http/connection.hpp"

namespace sojourn::http {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr Seconds sweep_interval{1};
constexpr Milliseconds accept_pause{100};
constexpr int accepts_per_turn = 64;

// So many clients past the limit are told why they are refused; those beyond are just closed.
constexpr std::size_t polite_refusals = 64;

Async<void> serve(std::shared_ptr<Connection> connection) {
  co_await connection->serve();
}

Async<void> turn_away(std::shared_ptr<Connection> connection, Error error) {
  co_await connection->turn_away(std::move(error));
}

tcp::endpoint endpoint_of(const std::string& host, std::uint16_t port) {
  error_code error;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error) {
    throw Error(ErrorCode::invalid_request,
                "cannot listen on '" + to_valid_utf8(host) + "': give an IP address or localhost");
  }
  return {address, port};
}

}  // namespace

struct Server::State {
  Async<void> accept_clients();
  int accept_waiting();
  void admit(int descriptor);
  void sweep();
  void sweep_later();
  void stop();

  Service service;
  tcp::acceptor acceptor;
  tcp protocol;
  TaskGroup group;
  Event stopped;
  std::unique_ptr<Alarm> next_sweep;
};

Server::Server(Executor executor, Clock& clock, const Log& log, ServerLimits limits, Handler handler,
               std::function<Response(const Error&)> on_error)
    : state_(new State{.service = {.clock = clock,
                                   .log = log,
                                   .limits = limits,
                                   .handler = std::move(handler),
                                   .on_error = std::move(on_error),
                                   .date = {},
                                   .draining = false,
                                   .connections = {},
                                   .statistics = {},
                                   .connection_left = {}},
                       .acceptor = tcp::acceptor(executor),
                       .protocol = tcp::v4(),
                       .group = TaskGroup(executor),
                       .stopped = {},
                       .next_sweep = nullptr}) {}

Server::~Server() {
  assert(!state_->acceptor.is_open() && state_->group.size() == 0);
}

std::uint16_t Server::listen(const std::string& host, std::uint16_t port) {
  const tcp::endpoint endpoint = endpoint_of(host, port);
  tcp::acceptor& acceptor = state_->acceptor;
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) acceptor.native_non_blocking(true, error);
  if (!error && ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC) != 0) {
    error.assign(errno, boost::system::system_category());
  }
  if (error) {
    error_code ignored;
    acceptor.close(ignored);
    const std::string where = host + ":" + std::to_string(port);
    if (error == asio::error::address_in_use) {
      throw Error(ErrorCode::address_in_use, "another program listens on " + where);
    }
    if (error.value() == EADDRNOTAVAIL) {
      throw Error(ErrorCode::invalid_request, "cannot listen on " + where + ": this machine has no such address");
    }
    throw io_error("cannot listen on " + where, error.value());
  }
  state_->protocol = endpoint.protocol();
  state_->group.spawn(state_->accept_clients());
  return acceptor.local_endpoint().port();
}

ServerStatistics Server::statistics() const {
  ServerStatistics statistics = state_->service.statistics;
  statistics.connections = state_->service.connections.size();
  return statistics;
}

void Server::stop_accepting() {
  state_->stop();
}

Async<void> Server::close(Instant deadline) {
  state_->stop();
  Service& service = state_->service;
  while (!service.connections.empty()) {
    if (!co_await service.connection_left.wait_until(service.clock, deadline)) break;
  }
  state_->group.cancel();
  co_await state_->group.join();
  state_->next_sweep.reset();
}

void Server::State::stop() {
  error_code ignored;
  acceptor.close(ignored);
  service.draining = true;
  stopped.notify_all();
  for (Connection* connection : service.connections) connection->close_if_idle();
}

Async<void> Server::State::accept_clients() {
  bool short_of = false;  // told once for a spell of it
  while (acceptor.is_open()) {
    error_code error;
    co_await acceptor.async_wait(asio::socket_base::wait_read, asio::redirect_error(asio::use_awaitable, error));
    const int shortage = accept_waiting();
    if (shortage == 0) {
      short_of = false;
      continue;
    }
    // It passes as connections close; trying again at once would only burn time.
    if (!std::exchange(short_of, true)) {
      service.log.warning("cannot accept connections for now", {{"reason", std::strerror(shortage)}});
    }
    co_await stopped.wait_until(service.clock, service.clock.instant() + accept_pause);
  }
}

// Accepts those that wait, and returns the errno of what stands in the way, or 0.
int Server::State::accept_waiting() {
  for (int turn = 0; turn < accepts_per_turn && acceptor.is_open(); ++turn) {
    const int descriptor = ::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) {
      admit(descriptor);
      continue;
    }
    switch (errno) {
      case EAGAIN:
        return 0;
      case ECONNABORTED:  // these concern one client only
      case EINTR:
      case EPROTO:
      case EPERM:
      case ETIMEDOUT:
        break;
      default:
        return errno;
    }
  }
  return 0;
}

void Server::State::admit(int descriptor) {
  tcp::socket socket(acceptor.get_executor());
  error_code error;
  socket.assign(protocol, descriptor, error);
  if (error) {
    ::close(descriptor);
    return;
  }
  socket.set_option(tcp::no_delay(true), error);
  const std::size_t count = service.connections.size();
  ++service.statistics.accepted;
  if (count >= service.limits.connections) ++service.statistics.turned_away;
  if (count >= service.limits.connections + polite_refusals) return;
  auto connection = std::make_shared<Connection>(std::move(socket), service);
  if (count < service.limits.connections) {
    group.spawn(serve(std::move(connection)));
  } else {
    group.spawn(turn_away(std::move(connection),
                          Error(ErrorCode::unavailable, "the server has all the connections it takes")));
  }
  if (!next_sweep) sweep_later();
}

void Server::State::sweep() {
  const Instant now = service.clock.instant();
  for (Connection* connection : service.connections) connection->check_deadline(now);
  next_sweep.reset();
  if (!service.connections.empty()) sweep_later();
}

void Server::State::sweep_later() {
  next_sweep =
      service.clock.set_alarm(service.clock.instant() + sweep_interval, acceptor.get_executor(), [this] { sweep(); });
}

}  // namespace sojourn::http
