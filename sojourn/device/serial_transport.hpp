#pragma once

#include <memory>

#include "sojourn/device/transport.hpp"

namespace sojourn::device {

// A terminal device: a serial port, USB serial, a pseudo-terminal. One program has it at a time. It is restarted by
// its DTR and RTS lines, as boards with an ESP32 and most USB adapters wire them.
std::unique_ptr<Transport> make_serial_transport(Executor executor, Clock& clock, SerialAddress address);

}  // namespace sojourn::device
