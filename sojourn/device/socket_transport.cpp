#include "sojourn/device/socket_transport.hpp"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "sojourn/device/stream_transport.hpp"

namespace sojourn::device {

namespace asio = boost::asio;

namespace {

Error refused(const Address& address, Clock& clock, Instant deadline, const boost::system::error_code& error) {
  if (clock.instant() >= deadline) {
    return Error(ErrorCode::call_timeout, fmt::format("no connection to {} in time", to_string(address)));
  }
  return Error(ErrorCode::connection_failed, fmt::format("{}: {}", to_string(address), error.message()));
}

class TcpTransport final : public StreamTransport<asio::ip::tcp::socket> {
 public:
  TcpTransport(Executor executor, Clock& clock, TcpAddress address)
      : StreamTransport(std::move(executor)), clock_(clock), address_(std::move(address)) {}

  Async<void> open(Instant deadline) override {
    close();
    asio::ip::tcp::resolver resolver(executor());
    asio::ip::tcp::socket socket(executor());
    const auto alarm = clock_.set_alarm(deadline, executor(), [&] {
      resolver.cancel();
      boost::system::error_code ignored;
      socket.close(ignored);
    });
    boost::system::error_code error;
    const auto found = co_await resolver.async_resolve(address_.host, std::to_string(address_.port),
                                                       asio::redirect_error(asio::use_awaitable, error));
    if (!error) co_await asio::async_connect(socket, found, asio::redirect_error(asio::use_awaitable, error));
    if (error) throw refused(address_, clock_, deadline, error);
    socket.set_option(asio::ip::tcp::no_delay(true), error);
    socket.set_option(asio::socket_base::keep_alive(true), error);
    adopt(std::move(socket));
  }

 private:
  Clock& clock_;
  TcpAddress address_;
};

class UnixTransport final : public StreamTransport<asio::local::stream_protocol::socket> {
 public:
  UnixTransport(Executor executor, Clock& clock, UnixAddress address)
      : StreamTransport(std::move(executor)), clock_(clock), address_(std::move(address)) {}

  Async<void> open(Instant deadline) override {
    close();
    asio::local::stream_protocol::socket socket(executor());
    const auto alarm = clock_.set_alarm(deadline, executor(), [&] {
      boost::system::error_code ignored;
      socket.close(ignored);
    });
    boost::system::error_code error;
    if (address_.path.size() >= sizeof(sockaddr_un::sun_path)) {
      error = asio::error::name_too_long;
    } else {
      co_await socket.async_connect(asio::local::stream_protocol::endpoint(address_.path),
                                    asio::redirect_error(asio::use_awaitable, error));
    }
    if (error) throw refused(address_, clock_, deadline, error);
    adopt(std::move(socket));
  }

 private:
  Clock& clock_;
  UnixAddress address_;
};

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(Executor executor, Clock& clock, TcpAddress address) {
  return std::make_unique<TcpTransport>(std::move(executor), clock, std::move(address));
}

std::unique_ptr<Transport> make_unix_transport(Executor executor, Clock& clock, UnixAddress address) {
  return std::make_unique<UnixTransport>(std::move(executor), clock, std::move(address));
}

}  // namespace sojourn::device
