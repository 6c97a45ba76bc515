#include "sojourn/device/address.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(ErrorCode::config_invalid,
              fmt::format("board address '{}': {}; write serial:PATH[?baud=N], tcp:HOST:PORT, unix:PATH or "
                          "subprocess:COMMAND",
                          to_valid_utf8(text), why));
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) return std::nullopt;
  return number;
}

SerialAddress parse_serial(std::string_view text, std::string_view rest) {
  SerialAddress address;
  const std::size_t query = rest.find('?');
  address.path = rest.substr(0, query);
  if (address.path.empty()) refuse(text, "the path is missing");
  if (query == rest.npos) return address;
  const std::string_view option = rest.substr(query + 1);
  constexpr std::string_view baud = "baud=";
  const auto number = option.starts_with(baud) ? parse_number<unsigned>(option.substr(baud.size())) : std::nullopt;
  if (!number) refuse(text, "the only option is baud=N");
  address.baud = *number;
  return address;
}

TcpAddress parse_tcp(std::string_view text, std::string_view rest) {
  const std::size_t colon = rest.rfind(':');
  if (colon == rest.npos) refuse(text, "the port is missing");
  std::string_view host = rest.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto port = parse_number<std::uint16_t>(rest.substr(colon + 1));
  if (host.empty()) refuse(text, "the host is missing");
  if (!port) refuse(text, "the port is no number from 1 to 65535");
  return {std::string(host), *port};
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
  std::string operator()(const SerialAddress& serial) const {
    return serial.baud == SerialAddress{}.baud ? "serial:" + serial.path
                                               : fmt::format("serial:{}?baud={}", serial.path, serial.baud);
  }
  std::string operator()(const TcpAddress& tcp) const {
    return tcp.host.find(':') == tcp.host.npos ? fmt::format("tcp:{}:{}", tcp.host, tcp.port)
                                               : fmt::format("tcp:[{}]:{}", tcp.host, tcp.port);
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
  if (kind == "tcp") return parse_tcp(text, rest);
  if (kind == "subprocess") return parse_command(text, rest);
  if (kind != "unix") refuse(text, fmt::format("there is no transport '{}'", to_valid_utf8(kind)));
  if (rest.empty()) refuse(text, "the path is missing");
  return UnixAddress{std::string(rest)};
}

std::string to_string(const Address& address) {
  return std::visit(Writer{}, address);
}

}  // namespace sojourn::device
