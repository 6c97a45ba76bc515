#include "sojourn/device/wire_coding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <boost/uuid/detail/sha1.hpp>
#include <cctype>
#include <cstddef>
#include <random>
#include <ranges>

#include "sojourn/base/error.hpp"
#include "sojourn/base/signature.hpp"

namespace sojourn::device {

namespace {

constexpr std::uint8_t telnet_end = 240;          // of a negotiation
constexpr std::uint8_t telnet_negotiation = 250;  // its beginning
constexpr std::uint8_t telnet_will = 251;
constexpr std::uint8_t telnet_wont = 252;
constexpr std::uint8_t telnet_do = 253;
constexpr std::uint8_t telnet_dont = 254;
constexpr std::uint8_t telnet_command = 255;
constexpr std::uint8_t option_echo = 1;
constexpr std::uint8_t option_no_go_ahead = 3;

constexpr std::uint8_t last_frame = 0x80;
constexpr std::uint8_t masked = 0x80;
constexpr std::uint8_t opcode_text = 1;
constexpr std::uint8_t opcode_close = 8;
constexpr std::uint8_t opcode_ping = 9;
constexpr std::uint8_t opcode_pong = 10;
constexpr std::size_t largest_frame = 1u << 20;
constexpr std::size_t sent_frame = 1024;  // a board has little room for one

std::string frame(std::uint8_t opcode, std::string_view payload) {
  std::string out{static_cast<char>(last_frame | opcode)};
  if (payload.size() < 126) {
    out += static_cast<char>(masked | payload.size());
  } else {
    out += static_cast<char>(masked | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xFF);
  }
  const std::uint32_t mask = std::random_device()();
  char bytes[4];
  boost::endian::store_big_u32(reinterpret_cast<unsigned char*>(bytes), mask);
  out.append(bytes, sizeof bytes);
  for (std::size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ bytes[i % 4]);
  return out;
}

struct FrameHead {
  std::uint8_t opcode = 0;
  std::size_t start = 0;  // of the payload
  std::uint64_t size = 0;
};

// Nothing of it where more has to come.
bool read_head(std::string_view in, FrameHead& head) {
  if (in.size() < 2) return false;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(in[i]); };
  head.opcode = byte(0) & 0x0F;
  head.size = byte(1) & 0x7F;
  const std::size_t length_bytes = head.size == 127 ? 8 : head.size == 126 ? 2 : 0;
  head.start = 2 + length_bytes;
  if (in.size() < head.start) return false;
  if (length_bytes > 0) head.size = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) head.size = head.size << 8 | byte(2 + i);
  if ((byte(1) & masked) != 0 || head.size > largest_frame) {
    throw Error(ErrorCode::protocol_error, "the board sent a WebSocket frame that is masked, or past 1 MiB");
  }
  return in.size() >= head.start + head.size;
}

std::string accept_of(std::string_view key) {
  boost::uuids::detail::sha1 hash;
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, section 1.3
  hash.process_bytes(text.data(), text.size());
  boost::uuids::detail::sha1::digest_type words;
  hash.get_digest(words);
  std::string bytes;
  for (const unsigned int word : words) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(word >> shift & 0xFF);
  }
  return to_base64(bytes);
}

bool equal_without_case(std::string_view one, std::string_view other) {
  return std::ranges::equal(
      one, other, {}, [](unsigned char c) { return std::tolower(c); },
      [](unsigned char c) { return std::tolower(c); });
}

}  // namespace

std::string TelnetCoding::encode(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    out += byte;
    if (static_cast<std::uint8_t>(byte) == telnet_command) out += byte;
  }
  return out;
}

std::string TelnetCoding::decode(std::string_view received, std::string& answer) {
  std::string data;
  for (const char each : received) {
    const auto byte = static_cast<std::uint8_t>(each);
    switch (state_) {
      case State::data:
        if (byte == telnet_command) {
          state_ = State::command;
        } else {
          data += each;
        }
        break;
      case State::command:
        command_ = byte;
        if (byte == telnet_command) data += each;
        state_ = byte == telnet_negotiation                   ? State::negotiation
                 : byte >= telnet_will && byte <= telnet_dont ? State::option
                                                              : State::data;
        break;
      case State::option:
        answer_option(byte, answer);
        state_ = State::data;
        break;
      case State::negotiation:
        if (byte == telnet_command) state_ = State::negotiation_command;
        break;
      case State::negotiation_command:
        state_ = byte == telnet_end ? State::data : State::negotiation;
        break;
    }
  }
  return data;
}

void TelnetCoding::answer_option(std::uint8_t option, std::string& answer) {
  if (!answered_.insert(static_cast<std::uint16_t>(command_ << 8 | option)).second) return;
  std::uint8_t said = 0;
  if (command_ == telnet_do) said = telnet_wont;
  if (command_ == telnet_will) {
    said = option == option_echo || option == option_no_go_ahead ? telnet_do : telnet_dont;
  }
  if (said == 0) return;
  for (const std::uint8_t byte : {telnet_command, said, option}) answer += static_cast<char>(byte);
}

std::string WebSocketCoding::encode(std::string_view bytes) {
  std::string out;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), sent_frame))) {
    out += frame(opcode_text, bytes.substr(0, sent_frame));
  }
  return out;
}

std::string WebSocketCoding::decode(std::string_view received, std::string& answer) {
  in_ += received;
  std::string data;
  std::size_t at = 0;
  for (FrameHead head; read_head(std::string_view(in_).substr(at), head); at += head.start + head.size) {
    const std::string_view payload = std::string_view(in_).substr(at + head.start, head.size);
    if (head.opcode == opcode_close) {
      throw Error(ErrorCode::connection_failed, "the board closed its WebSocket");
    }
    if (head.opcode == opcode_ping) {
      answer += frame(opcode_pong, payload.substr(0, 125));
    } else if (head.opcode < opcode_close) {
      data += payload;
    }
  }
  in_.erase(0, at);
  return data;
}

std::string web_socket_request(std::string_view host, std::string_view key) {
  return fmt::format(
      "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\n"
      "Sec-WebSocket-Version: 13\r\n\r\n",
      host, key);
}

void check_web_socket_answer(std::string_view answer, std::string_view key) {
  bool accepted = false;
  for (const auto part : std::views::split(answer, std::string_view("\r\n"))) {
    const std::string_view line(part.begin(), part.end());
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !equal_without_case(line.substr(0, colon), "sec-websocket-accept")) continue;
    const std::size_t value = line.find_first_not_of(' ', colon + 1);
    accepted = value != line.npos && line.substr(value) == accept_of(key);
  }
  if (answer.starts_with("HTTP/1.1 101") && accepted) return;
  throw Error(ErrorCode::connection_failed, "what listens there speaks no WebSocket");
}

}  // namespace sojourn::device
