#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// Where a board is, as people write it.
namespace sojourn::device {

// serial:/dev/ttyACM0, serial:/dev/ttyUSB0?baud=9600, or the path alone
struct SerialAddress {
  std::string path;
  unsigned baud = 115'200;
  bool operator==(const SerialAddress&) const = default;
};

// tcp:192.168.4.1:8266, tcp:[::1]:8266
struct TcpAddress {
  std::string host;
  std::uint16_t port = 0;
  bool operator==(const TcpAddress&) const = default;
};

// unix:/run/board.sock
struct UnixAddress {
  std::string path;
  bool operator==(const UnixAddress&) const = default;
};

// subprocess:micropython -i: a program whose standard input and output are the REPL. Words are split at spaces, '...'
// and "..." keep them together; no shell reads it.
struct SubprocessAddress {
  std::vector<std::string> command;
  bool operator==(const SubprocessAddress&) const = default;
};

// usb:2e8a:0005, usb:2e8a:0005:E6614103E7 or usb:::E6614103E7: the serial port of a USB device by its vendor, product
// and serial number, of which each may be left out; ?baud=N as for serial.
struct UsbAddress {
  std::string vendor;   // four hex digits in small letters
  std::string product;  // as vendor
  std::string serial;
  unsigned baud = 115'200;
  bool operator==(const UsbAddress&) const = default;
};

// telnet:192.168.4.1, telnet:micro:python@192.168.4.1:2323; without a user there is no login.
struct TelnetAddress {
  std::string host;
  std::uint16_t port = 23;
  std::string user;
  std::string password;
  bool operator==(const TelnetAddress&) const = default;
};

// webrepl:PASSWORD@192.168.4.1, webrepl:PASSWORD@[::1]:8266
struct WebReplAddress {
  std::string host;
  std::uint16_t port = 8266;
  std::string password;
  bool operator==(const WebReplAddress&) const = default;
};

using Address = std::variant<SerialAddress, TcpAddress, UnixAddress, SubprocessAddress, UsbAddress, TelnetAddress,
                             WebReplAddress>;

// Errors: config_invalid.
Address parse_address(std::string_view text);

// Such that parse_address(to_string(a)) == a.
std::string to_string(const Address& address);

// The same for people to read: *** stands for a password.
std::string to_display(Address address);

}  // namespace sojourn::device
