#include "sojourn/device/address.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

// For people to read, though it is no address: *** stands for what may be a login.
std::string masked(std::string_view text) {
  const auto colon = text.find(':');
  const auto at = text.rfind('@');
  const bool has_login = text.starts_with("telnet:") || text.starts_with("webrepl:");
  if (!has_login || at == text.npos) return to_valid_utf8(text);
  return to_valid_utf8(fmt::format("{}:***{}", text.substr(0, colon), text.substr(at)));
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(ErrorCode::config_invalid,
              fmt::format("board address '{}': {}; write serial:PATH[?baud=N], usb:VENDOR:PRODUCT[:SERIAL], "
                          "tcp:HOST:PORT, telnet:[USER:PASSWORD@]HOST[:PORT], webrepl:PASSWORD@HOST[:PORT], "
                          "unix:PATH or subprocess:COMMAND",
                          masked(text), why));
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) return std::nullopt;
  return number;
}

// Takes ?baud=N off the end of `rest`.
unsigned take_baud(std::string_view text, std::string_view& rest) {
  const std::size_t query = rest.find('?');
  if (query == rest.npos) return SerialAddress{}.baud;
  const std::string_view option = rest.substr(query + 1);
  constexpr std::string_view baud = "baud=";
  const auto number = option.starts_with(baud) ? parse_number<unsigned>(option.substr(baud.size())) : std::nullopt;
  if (!number) refuse(text, "the only option is baud=N");
  rest = rest.substr(0, query);
  return *number;
}

SerialAddress parse_serial(std::string_view text, std::string_view rest) {
  SerialAddress address;
  address.baud = take_baud(text, rest);
  address.path = rest;
  if (address.path.empty()) refuse(text, "the path is missing");
  return address;
}

std::string parse_usb_number(std::string_view text, std::string_view number) {
  if (number.empty()) return {};
  std::string digits(number);
  for (char& c : digits) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdef") != digits.npos) {
    refuse(text, "a vendor and a product are four hex digits");
  }
  return digits;
}

UsbAddress parse_usb(std::string_view text, std::string_view rest) {
  UsbAddress address;
  address.baud = take_baud(text, rest);
  const std::size_t first = rest.find(':');
  const std::size_t second = first == rest.npos ? first : rest.find(':', first + 1);
  address.vendor = parse_usb_number(text, rest.substr(0, first));
  if (first != rest.npos) address.product = parse_usb_number(text, rest.substr(first + 1, second - first - 1));
  if (second != rest.npos) address.serial = rest.substr(second + 1);
  if (address.vendor.empty() && address.product.empty() && address.serial.empty()) {
    refuse(text, "the vendor, the product or the serial number is missing");
  }
  return address;
}

// `port` where none is given.
TcpAddress parse_host(std::string_view text, std::string_view rest, std::uint16_t port) {
  const std::size_t bracket = rest.rfind(']');
  const std::size_t colon = rest.rfind(':');
  const bool has_port = colon != rest.npos && (bracket == rest.npos || colon > bracket);
  if (!has_port && port == 0) refuse(text, "the port is missing");
  std::string_view host = rest.substr(0, has_port ? colon : rest.size());
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto number = has_port ? parse_number<std::uint16_t>(rest.substr(colon + 1)) : std::optional(port);
  if (host.empty()) refuse(text, "the host is missing");
  if (!number) refuse(text, "the port is no number from 1 to 65535");
  return {std::string(host), *number};
}

// The login ends at the last @, so that a password may have one.
TelnetAddress parse_telnet(std::string_view text, std::string_view rest) {
  TelnetAddress address;
  if (const std::size_t at = rest.rfind('@'); at != rest.npos) {
    const std::string_view login = rest.substr(0, at);
    const std::size_t colon = login.find(':');
    address.user = login.substr(0, colon);
    if (address.user.empty() || colon == login.npos) refuse(text, "a login is USER:PASSWORD");
    address.password = login.substr(colon + 1);
    rest.remove_prefix(at + 1);
  }
  const TcpAddress host = parse_host(text, rest, address.port);
  address.host = host.host;
  address.port = host.port;
  return address;
}

WebReplAddress parse_webrepl(std::string_view text, std::string_view rest) {
  WebReplAddress address;
  const std::size_t at = rest.rfind('@');
  if (at == rest.npos || at == 0) refuse(text, "the password is missing");
  address.password = rest.substr(0, at);
  const TcpAddress host = parse_host(text, rest.substr(at + 1), address.port);
  address.host = host.host;
  address.port = host.port;
  return address;
}

SubprocessAddress parse_command(std::string_view text, std::string_view rest) {
  SubprocessAddress address;
  std::optional<std::string> word;
  char quote = 0;
  for (const char c : rest) {
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        *word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      if (!word) word.emplace();
    } else if (c == ' ') {
      if (word) address.command.push_back(*std::exchange(word, std::nullopt));
    } else {
      if (!word) word.emplace();
      *word += c;
    }
  }
  if (quote != 0) refuse(text, "a quote is not closed");
  if (word) address.command.push_back(*word);
  if (address.command.empty()) refuse(text, "the command is missing");
  return address;
}

std::string quoted(const std::string& word) {
  if (word.empty()) return "''";
  if (word.find_first_of(" '\"") == word.npos) return word;
  if (word.find('\'') == word.npos) return fmt::format("'{}'", word);
  std::string out;
  for (const char c : word) out += c == '\'' ? "\"'\"" : fmt::format("'{}'", c);
  return out;
}

struct Writer {
  static std::string host(const std::string& name, std::uint16_t port) {
    return name.find(':') == name.npos ? fmt::format("{}:{}", name, port) : fmt::format("[{}]:{}", name, port);
  }
  static std::string with_baud(std::string text, unsigned baud) {
    return baud == SerialAddress{}.baud ? text : fmt::format("{}?baud={}", text, baud);
  }

  std::string operator()(const SerialAddress& serial) const {
    return with_baud("serial:" + serial.path, serial.baud);
  }
  std::string operator()(const TcpAddress& tcp) const { return "tcp:" + host(tcp.host, tcp.port); }
  std::string operator()(const UsbAddress& usb) const {
    const std::string numbers = fmt::format("usb:{}:{}", usb.vendor, usb.product);
    return with_baud(usb.serial.empty() ? numbers : numbers + ":" + usb.serial, usb.baud);
  }
  std::string operator()(const TelnetAddress& telnet) const {
    const std::string login = telnet.user.empty() ? "" : fmt::format("{}:{}@", telnet.user, telnet.password);
    return "telnet:" + login + host(telnet.host, telnet.port);
  }
  std::string operator()(const WebReplAddress& webrepl) const {
    return fmt::format("webrepl:{}@{}", webrepl.password, host(webrepl.host, webrepl.port));
  }
  std::string operator()(const UnixAddress& socket) const { return "unix:" + socket.path; }
  std::string operator()(const SubprocessAddress& subprocess) const {
    std::string words;
    for (const std::string& word : subprocess.command) words += (words.empty() ? "" : " ") + quoted(word);
    return "subprocess:" + words;
  }
};

}  // namespace

Address parse_address(std::string_view text) {
  if (text.starts_with('/')) return parse_serial(text, text);
  const std::size_t colon = text.find(':');
  if (colon == text.npos) refuse(text, "it names no transport");
  const std::string_view kind = text.substr(0, colon);
  const std::string_view rest = text.substr(colon + 1);
  if (kind == "serial") return parse_serial(text, rest);
  if (kind == "usb") return parse_usb(text, rest);
  if (kind == "tcp") return parse_host(text, rest, 0);
  if (kind == "telnet") return parse_telnet(text, rest);
  if (kind == "webrepl") return parse_webrepl(text, rest);
  if (kind == "subprocess") return parse_command(text, rest);
  if (kind != "unix") refuse(text, fmt::format("there is no transport '{}'", to_valid_utf8(kind)));
  if (rest.empty()) refuse(text, "the path is missing");
  return UnixAddress{std::string(rest)};
}

std::string to_string(const Address& address) {
  return std::visit(Writer{}, address);
}

std::string to_display(Address address) {
  if (auto* telnet = std::get_if<TelnetAddress>(&address)) telnet->password = "***";
  if (auto* webrepl = std::get_if<WebReplAddress>(&address)) webrepl->password = "***";
  return to_string(address);
}

}  // namespace sojourn::device
