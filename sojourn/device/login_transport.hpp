#pragma once

#include <memory>

#include "sojourn/device/transport.hpp"

namespace sojourn::device {

// Telnet to a board that serves its REPL so; logs in where the address names a user.
std::unique_ptr<Transport> make_telnet_transport(Executor executor, Clock& clock, TelnetAddress address);

// MicroPython's WebREPL: a WebSocket whose first question is the password.
std::unique_ptr<Transport> make_webrepl_transport(Executor executor, Clock& clock, WebReplAddress address);

}  // namespace sojourn::device
