#include "sojourn/device/transport.hpp"

#include "sojourn/base/error.hpp"
#include "sojourn/device/login_transport.hpp"
#include "sojourn/device/serial_transport.hpp"
#include "sojourn/device/socket_transport.hpp"
#include "sojourn/device/subprocess_transport.hpp"
#include "sojourn/device/usb_ports.hpp"

namespace sojourn::device {

Async<void> Transport::restart(Instant) {
  throw Error(ErrorCode::connection_failed, "this wire cannot restart its board");
  co_return;
}

namespace {

struct Maker {
  Executor executor;
  Clock& clock;

  std::unique_ptr<Transport> operator()(SerialAddress& address) const {
    return make_serial_transport(executor, clock, std::move(address));
  }
  std::unique_ptr<Transport> operator()(TcpAddress& address) const {
    return make_tcp_transport(executor, clock, std::move(address));
  }
  std::unique_ptr<Transport> operator()(UsbAddress& address) const {
    return make_usb_transport(executor, clock, std::move(address));
  }
  std::unique_ptr<Transport> operator()(TelnetAddress& address) const {
    return make_telnet_transport(executor, clock, std::move(address));
  }
  std::unique_ptr<Transport> operator()(WebReplAddress& address) const {
    return make_webrepl_transport(executor, clock, std::move(address));
  }
  std::unique_ptr<Transport> operator()(UnixAddress& address) const {
    return make_unix_transport(executor, clock, std::move(address));
  }
  std::unique_ptr<Transport> operator()(SubprocessAddress& address) const {
    return make_subprocess_transport(executor, std::move(address));
  }
};

}  // namespace

std::unique_ptr<Transport> make_transport(Executor executor, Clock& clock, Address address) {
  return std::visit(Maker{std::move(executor), clock}, address);
}

}  // namespace sojourn::device
