// HTTP requests: wherever the bytes are cut, the same request comes out of them, or none. Targets are decoded too.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "expect.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/http/message_parser.hpp"

namespace {

using sojourn::Error;
namespace http = sojourn::http;

constexpr http::ParserLimits parser_limits{.header_bytes = 512, .body_bytes = 512};

enum class Outcome { incomplete, refused, too_long, whole };

struct Reading {
  Outcome outcome = Outcome::incomplete;
  http::Request request;
};

// As a connection reads: what the parser leaves is offered again with more behind it.
Reading read(std::string_view bytes, std::size_t piece) {
  Reading reading;
  http::RequestParser parser(parser_limits);
  std::string waiting;
  try {
    while (!bytes.empty() && !parser.is_done()) {
      waiting += bytes.substr(0, piece);
      bytes.remove_prefix(std::min(piece, bytes.size()));
      waiting.erase(0, parser.consume(waiting));
    }
  } catch (const Error& error) {
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
    const bool too_long = error.code() == sojourn::ErrorCode::header_too_large;
    reading.outcome = too_long ? Outcome::too_long : Outcome::refused;
  }
  if (reading.outcome != Outcome::incomplete || !parser.is_done()) return reading;
  reading.outcome = Outcome::whole;
  reading.request = parser.take();
  return reading;
}

void check_target(const std::string& text) {
  try {
    const http::Target target = http::parse_target(text);
    for (const std::string& segment : target.path) {
      expect(segment != "." && segment != "..", "no segment climbs");
      expect(segment.find('/') == std::string::npos && segment.find('\0') == std::string::npos, "segments are plain");
    }
  } catch (const Error& error) {
    expect(error.code() == sojourn::ErrorCode::invalid_request, "a refusal is an invalid_request");
  }
}

}  // namespace

// The first byte says how large the pieces are that the rest comes in.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Reading at_once = read(bytes, size);
  const Reading in_pieces = read(bytes, data[0] % 64 + 1u);
  // The last line ends of a header are counted against its limit only when they come in a piece of their own.
  if (at_once.outcome == Outcome::too_long || in_pieces.outcome == Outcome::too_long) return 0;
  // What can never become a request may be refused sooner when more of it comes at once.
  expect((at_once.outcome == Outcome::whole) == (in_pieces.outcome == Outcome::whole), "pieces do not matter");
  if (at_once.outcome != Outcome::whole) return 0;
  const http::Request& request = at_once.request;
  expect(request.body.size() <= parser_limits.body_bytes, "a body keeps the limit");
  expect(request.target == in_pieces.request.target && request.body == in_pieces.request.body &&
             request.keep_alive == in_pieces.request.keep_alive &&
             std::ranges::equal(request.headers, in_pieces.request.headers),
         "the same request comes out");
  check_target(request.target);
  return 0;
}
