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

using Address = std::variant<SerialAddress, TcpAddress, UnixAddress, SubprocessAddress>;

// Errors: config_invalid.
Address parse_address(std::string_view text);

// Such that parse_address(to_string(a)) == a.
std::string to_string(const Address& address);

}  // namespace sojourn::device
