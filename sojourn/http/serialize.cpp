#include "sojourn/http/serialize.hpp"

#include <fmt/format.h>

#include <boost/beast/http/status.hpp>
#include <charconv>
#include <iterator>

#include "sojourn/base/error.hpp"

namespace sojourn::http {

namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7F; });
}

bool is_request_target(std::string_view text) {
  return !text.empty() && std::ranges::none_of(text, [](char c) { return (c >= 0 && c <= 0x20) || c == 0x7F; });
}

// A line break in a name or value would let its author write further fields, or a whole second message.
void append_field(std::string& out, std::string_view name, std::string_view value, ErrorCode refusal) {
  if (!is_token(name) || !is_field_value(value)) {
    throw Error(refusal, "the header field '" + to_valid_utf8(name) +
                             "' cannot be written: its name is no token or "
                             "its value holds control characters");
  }
  out.append(name).append(": ").append(value).append("\r\n");
}

void append_number(std::string& out, std::size_t number) {
  std::array<char, 20> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
}

void append_status_line(std::string& out, int status) {
  if (status < 200 || status > 599) {
    throw Error(ErrorCode::internal_error, "a response cannot have the status " + std::to_string(status));
  }
  if (status == 200) {
    out += "HTTP/1.1 200 OK\r\n";
    return;
  }
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  out += "HTTP/1.1 ";
  append_number(out, static_cast<std::size_t>(status));
  out.append(" ").append(reason.data(), reason.size()).append("\r\n");
}

}  // namespace

const std::string& DateText::at(Time now) {
  constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto second = std::chrono::floor<Seconds>(now);
  if (second == second_ && !text_.empty()) return text_;
  second_ = second;
  const auto day = std::chrono::floor<std::chrono::days>(second);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(second - day);
  text_ = fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", days.at(std::chrono::weekday(day).c_encoding()),
                      static_cast<unsigned>(date.day()), months.at(static_cast<unsigned>(date.month()) - 1),
                      static_cast<int>(date.year()), clock.hours().count(), clock.minutes().count(),
                      clock.seconds().count());
  return text_;
}

void append_response_head(std::string& out, const Response& response, std::string_view date,
                          ResponseFraming framing) {
  append_status_line(out, response.status);
  out.append("Date: ").append(date).append("\r\n");
  if (!response.content_type.empty()) {
    append_field(out, "Content-Type", response.content_type, ErrorCode::internal_error);
  }
  for (const auto& [name, value] : response.headers) append_field(out, name, value, ErrorCode::internal_error);
  if (framing.body == BodyFraming::chunked) {
    out += "Transfer-Encoding: chunked\r\n";
  } else if (framing.body == BodyFraming::length && response.status != 204 && response.status != 304) {
    out += "Content-Length: ";
    append_number(out, framing.length.value_or(response.body.size()));
    out += "\r\n";
  }
  if (!framing.keep_alive) {
    out += "Connection: close\r\n";
  } else if (!framing.http_1_1) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

void append_request_head(std::string& out, const Request& request, std::string_view host) {
  if (request.method == Method::other || !is_request_target(request.target)) {
    throw Error(ErrorCode::invalid_request,
                "'" + to_valid_utf8(request.target) + "' is no target to send a request to");
  }
  out.append(to_string(request.method)).append(" ").append(request.target).append(" HTTP/1.1\r\n");
  append_field(out, "Host", host, ErrorCode::invalid_request);
  for (const auto& [name, value] : request.headers) append_field(out, name, value, ErrorCode::invalid_request);
  const bool usually_has_body =
      request.method == Method::post || request.method == Method::put || request.method == Method::patch;
  if (usually_has_body || !request.body.empty()) {
    out += "Content-Length: ";
    append_number(out, request.body.size());
    out += "\r\n";
  }
  if (!request.keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
}

void append_chunk_head(std::string& out, std::size_t size) {
  std::array<char, 20> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), size, 16).ptr);
  out += "\r\n";
}

}  // namespace sojourn::http
