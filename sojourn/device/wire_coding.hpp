#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

// What a network's protocols add to a board's bytes, and take away again.
namespace sojourn::device {

// One connection's. Pure: bytes in, bytes out.
class WireCoding {
 public:
  virtual ~WireCoding() = default;

  // What goes over the wire for `bytes`.
  virtual std::string encode(std::string_view bytes) = 0;

  // What the board said in `received`, which may begin and end anywhere; `answer` is added to by what the protocol
  // itself has to answer. Errors: connection_failed for a farewell; protocol_error for what cannot be understood.
  virtual std::string decode(std::string_view received, std::string& answer) = 0;
};

// Telnet (RFC 854): commands are taken out, and options refused but for those that make a terminal transparent.
class TelnetCoding final : public WireCoding {
 public:
  std::string encode(std::string_view bytes) override;
  std::string decode(std::string_view received, std::string& answer) override;

 private:
  enum class State { data, command, option, negotiation, negotiation_command };

  void answer_option(std::uint8_t option, std::string& answer);

  State state_ = State::data;
  std::uint8_t command_ = 0;
  std::set<std::uint16_t> answered_;  // each option once, so that two sides cannot talk about it for ever
};

// WebSocket (RFC 6455) as a client, after its opening handshake.
class WebSocketCoding final : public WireCoding {
 public:
  std::string encode(std::string_view bytes) override;
  std::string decode(std::string_view received, std::string& answer) override;

 private:
  std::string in_;
};

// The request that opens a WebSocket, and the check of its answer, which ends with an empty line.
// Errors: connection_failed where the answer is no consent.
std::string web_socket_request(std::string_view host, std::string_view key);
void check_web_socket_answer(std::string_view answer, std::string_view key);

}  // namespace sojourn::device
