#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sojourn/device/transport.hpp"

// Boards on USB, found by what they say of themselves instead of by the number that the kernel gave their port.
namespace sojourn::device {

struct UsbPort {
  std::string path;     // "/dev/ttyACM0"
  std::string vendor;   // four hex digits
  std::string product;  // four hex digits
  std::string serial;   // "" where it has none
  std::string name;     // manufacturer and product, as it calls itself
};

// The serial ports on USB, by path. `root` is the folder that holds sys and dev.
std::vector<UsbPort> find_usb_ports(const std::filesystem::path& root = "/");

// The one that `address` stands for. Errors: connection_failed where none does, or more than one; the message names
// them.
UsbPort choose_usb_port(const UsbAddress& address, const std::vector<UsbPort>& ports);

// Looks for the port each time that it is opened: a board that is plugged in again may have another.
std::unique_ptr<Transport> make_usb_transport(Executor executor, Clock& clock, UsbAddress address,
                                              std::filesystem::path root = "/");

}  // namespace sojourn::device
