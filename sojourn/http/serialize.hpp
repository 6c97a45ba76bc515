#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/http/message.hpp"

// Messages as bytes. Private to this room.
namespace sojourn::http {

enum class BodyFraming {
  length,       // Content-Length
  chunked,      // Transfer-Encoding: chunked
  until_close,  // neither: the body ends with the connection, for HTTP/1.0
};

struct ResponseFraming {
  BodyFraming body = BodyFraming::length;
  bool keep_alive = true;
  bool http_1_1 = true;
  std::optional<std::uint64_t> length = std::nullopt;  // else that of the response's body
};

// The Date field's value for a moment, kept for the rest of its second.
class DateText {
 public:
  const std::string& at(Time now);

 private:
  std::chrono::sys_time<Seconds> second_{};
  std::string text_;
};

// Appends the status line and all header fields of `response`, up to and with the empty line.
// Errors: internal_error for a status or field that would break the message apart; `out` is then unspecified.
void append_response_head(std::string& out, const Response& response, std::string_view date, ResponseFraming framing);

// Appends a request for `host`, without its body. Errors: invalid_request, as above.
void append_request_head(std::string& out, const Request& request, std::string_view host);

// Appends the size line of a chunk of `size` bytes.
void append_chunk_head(std::string& out, std::size_t size);

}  // namespace sojourn::http
