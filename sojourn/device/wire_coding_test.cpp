#include "sojourn/device/wire_coding.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn::device {

namespace {

std::string decode_bytewise(WireCoding& coding, std::string_view wire, std::string& answer) {
  std::string data;
  for (const char byte : wire) data += coding.decode({&byte, 1}, answer);
  return data;
}

TEST(TelnetCoding, TakesCommandsOutWhereverTheBytesAreCut) {
  TelnetCoding coding;
  std::string answer;
  // WILL ECHO, DO TERMINAL-TYPE, a negotiation, NOP, a byte 255, and WILL ECHO again
  const std::string wire =
      "a\xff\xfb\x01"
      "b\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0\xff\xf1"
      "c\xff\xff\xff\xfb\x01"
      "d";
  EXPECT_EQ(decode_bytewise(coding, wire, answer),
            "abc\xff"
            "d");
  EXPECT_EQ(answer, "\xff\xfd\x01\xff\xfc\x18") << "DO ECHO, WONT TERMINAL-TYPE, each once";
  EXPECT_EQ(coding.encode("x\xff\x04"), "x\xff\xff\x04");
}

TEST(WebSocketCoding, ReadsFramesWhereverTheBytesAreCut) {
  WebSocketCoding coding;
  std::string answer;
  const std::string large(300, 'x');
  const std::string wire =
      std::string("\x81\x02OK\x89\x01p\x82\x7e\x01\x2c", 11) + large + std::string("\x8a\x00", 2);
  EXPECT_EQ(decode_bytewise(coding, wire, answer), "OK" + large);
  ASSERT_EQ(answer.size(), 7u) << "a pong, masked";
  EXPECT_EQ(answer.substr(0, 2), "\x8a\x81");
  EXPECT_EQ(answer[6] ^ answer[2], 'p');
}

TEST(WebSocketCoding, MasksWhatItSendsInFramesThatABoardHasRoomFor) {
  WebSocketCoding coding;
  const std::string small = coding.encode("abc");
  ASSERT_EQ(small.size(), 2u + 4 + 3);
  EXPECT_EQ(small.substr(0, 2), "\x81\x83");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(small[6 + i] ^ small[2 + i], "abc"[i]);
  EXPECT_EQ(coding.encode(std::string(1500, 'x')).size(), 1500u + 2 * (4 + 4));
  EXPECT_EQ(coding.encode(""), "");
}

TEST(WebSocketCoding, RefusesFarewellsAndWhatABoardMayNotSend) {
  const auto code_of = [](std::string_view wire) {
    WebSocketCoding coding;
    std::string answer;
    try {
      coding.decode(wire, answer);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal_error;
  };
  EXPECT_EQ(code_of(std::string_view("\x88\x00", 2)), ErrorCode::connection_failed);
  EXPECT_EQ(code_of("\x81\x81zzzzz"), ErrorCode::protocol_error) << "masked";
  EXPECT_EQ(code_of("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), ErrorCode::protocol_error) << "too large";
}

TEST(WebSocketHandshake, TakesOnlyAnAnswerToItsKey) {
  const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";  // the example of RFC 6455, section 1.3
  const std::string accepted =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
      "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
  EXPECT_NO_THROW(check_web_socket_answer(accepted, key));
  EXPECT_THROW(check_web_socket_answer(accepted, "another"), Error);
  EXPECT_THROW(check_web_socket_answer("HTTP/1.1 200 OK\r\n\r\n", key), Error);
  EXPECT_NE(web_socket_request("h:8266", key).find("Sec-WebSocket-Key: " + key), std::string::npos);
}

}  // namespace

}  // namespace sojourn::device
