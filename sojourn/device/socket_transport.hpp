#pragma once

#include <memory>

#include "sojourn/device/transport.hpp"

namespace sojourn::device {

std::unique_ptr<Transport> make_tcp_transport(Executor executor, Clock& clock, TcpAddress address);
std::unique_ptr<Transport> make_unix_transport(Executor executor, Clock& clock, UnixAddress address);

}  // namespace sojourn::device
