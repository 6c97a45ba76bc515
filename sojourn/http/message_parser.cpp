#include "sojourn/http/message_parser.hpp"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <boost/optional/optional.hpp>

#include "sojourn/base/error.hpp"

namespace sojourn::http {

namespace {

namespace beast = boost::beast;
using HttpError = beast::http::error;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

Method method_of(beast::http::verb verb) {
  switch (verb) {
    case beast::http::verb::get:
      return Method::get;
    case beast::http::verb::head:
      return Method::head;
    case beast::http::verb::post:
      return Method::post;
    case beast::http::verb::put:
      return Method::put;
    case beast::http::verb::patch:
      return Method::patch;
    case beast::http::verb::delete_:
      return Method::del;
    case beast::http::verb::options:
      return Method::options;
    default:
      return Method::other;
  }
}

// Beast asserts that at least this much is there once it has seen the last chunk's size, and would end the process.
// No chunked body ends in fewer bytes than "0\r\n\r\n", so waiting for them holds nothing up.
constexpr std::size_t smallest_chunked_rest = 5;

// A body is given room at once up to here; past that it grows as it arrives, whatever its length claims.
constexpr std::size_t trusted_length = 64 * 1024;

}  // namespace

RequestParser::RequestParser(ParserLimits limits) : limits_(limits) {
  header_limit(static_cast<std::uint32_t>(limits.header_bytes));
  body_limit(limits.body_bytes);
  eager(true);
}

std::size_t RequestParser::consume(std::string_view input) {
  if (is_header_done() && chunked() && input.size() < smallest_chunked_rest) return 0;
  input_ = input;
  beast::error_code error;
  const std::size_t used = put({input.data(), input.size()}, error);
  const std::size_t rest = input.size() - used;
  if (!is_header_done()) header_bytes_ += used;

  // Past the header only the head or the end of a chunk may be left over.
  const bool header_too_long = !is_header_done() && header_bytes_ + rest > limits_.header_bytes;
  const bool chunk_too_long = is_header_done() && !is_done() && rest > limits_.header_bytes;
  if (error == HttpError::header_limit ||
      (!error || error == HttpError::need_more ? header_too_long || chunk_too_long : false)) {
    throw Error(ErrorCode::header_too_large,
                "the request's header is larger than " + std::to_string(limits_.header_bytes) + " bytes");
  }
  if (error == HttpError::body_limit) {
    throw Error(ErrorCode::too_large,
                "the request's body is larger than " + std::to_string(limits_.body_bytes) + " bytes");
  }
  if (error && error != HttpError::need_more) {
    throw Error(ErrorCode::invalid_request, "the request is no valid HTTP/1.1: " +
                                                (complaint_.empty() ? error.message() : std::string(complaint_)));
  }
  return used;
}

Request RequestParser::take() {
  request_.keep_alive = keep_alive();
  return std::move(request_);
}

void RequestParser::on_request_impl(verb method, string_view name, string_view target, int version,
                                    error_code& error) {
  // A reader in front of us that takes "head" for HEAD would look for the answer's end elsewhere.
  const auto is_capital = [](char c) { return c < 'a' || c > 'z'; };
  if (!std::ranges::all_of(view(name), is_capital)) return refuse("its method is not in capitals", error);
  request_.method = method_of(method);
  request_.target.assign(target.data(), target.size());
  const auto most = limits_.streams != nullptr && *limits_.streams
                        ? (*limits_.streams)(request_.method, request_.target)
                        : std::nullopt;
  if (most) {
    streams_ = true;
    limits_.body_bytes = *most;
    body_limit(*most);
  }
  http_1_1_ = version == 11;
}

void RequestParser::on_field_impl(field id, string_view name, string_view value, error_code& error) {
  // Trailers are read past: none of them may change what the header said.
  if (header_over_) {
    trailer_bytes_ += name.size() + value.size();
    if (trailer_bytes_ > limits_.header_bytes) error = HttpError::header_limit;
    return;
  }
  if (is_folded(name, value)) return refuse("a header field is folded over several lines", error);
  const std::size_t end = static_cast<std::size_t>(name.data() + name.size() - input_.data()) + value.size();
  if (header_bytes_ + end > limits_.header_bytes) {
    error = HttpError::header_limit;
    return;
  }
  switch (id) {
    case field::content_length:
      if (++lengths_ > 1 || view(value).find_first_not_of("0123456789") != std::string_view::npos) {
        return refuse("its Content-Length is not one number", error);
      }
      break;
    case field::transfer_encoding:
      has_transfer_coding_ = true;
      if (!equal_without_case(view(value), "chunked")) {
        return refuse("its Transfer-Encoding is not 'chunked'", error);
      }
      break;
    case field::host:
      ++hosts_;
      break;
    case field::expect:
      expects_continue_ = http_1_1_ && equal_without_case(view(value), "100-continue");
      break;
    default:
      break;
  }
  request_.headers.add(std::string(view(name)), std::string(view(value)));
}

// Beast joins a folded value in a buffer of its own, unless its first line is empty.
bool RequestParser::is_folded(string_view name, string_view value) const {
  const std::less<const char*> before;
  const char* const input_end = input_.data() + input_.size();
  const char* const name_end = name.data() + name.size();
  if (before(value.data(), name_end) || before(input_end, value.data() + value.size())) return true;
  return std::string_view(name_end, value.data()).find('\n') != std::string_view::npos;
}

void RequestParser::on_header_impl(error_code& error) {
  header_over_ = true;
  if (hosts_ > 1 || (http_1_1_ && hosts_ == 0)) return refuse("it needs one Host header", error);
  if (!http_1_1_ && has_transfer_coding_) return refuse("HTTP/1.0 knows no Transfer-Encoding", error);
}

void RequestParser::on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) {
  if (!streams_) request_.body.reserve(std::min<std::size_t>(length.value_or(0), trusted_length));
}

std::size_t RequestParser::on_body_impl(string_view body, error_code&) {
  (streams_ ? piece_ : request_.body).append(body.data(), body.size());
  return body.size();
}

void RequestParser::on_chunk_header_impl(std::uint64_t, string_view extension, error_code& error) {
  if (extension.size() > limits_.header_bytes) error = HttpError::header_limit;
}

std::size_t RequestParser::on_chunk_body_impl(std::uint64_t, string_view body, error_code&) {
  (streams_ ? piece_ : request_.body).append(body.data(), body.size());
  return body.size();
}

void RequestParser::refuse(std::string_view complaint, error_code& error) {
  complaint_ = complaint;
  error = HttpError::bad_field;
}

ResponseParser::ResponseParser(std::size_t header_bytes, bool is_head,
                               std::function<bool(int, std::string_view)> on_body)
    : on_body_(std::move(on_body)) {
  response_.content_type.clear();
  header_limit(static_cast<std::uint32_t>(header_bytes));
  body_limit(boost::none);
  skip(is_head);
  eager(true);
}

std::size_t ResponseParser::consume(std::string_view input) {
  if (is_header_done() && chunked() && input.size() < smallest_chunked_rest) return 0;
  beast::error_code error;
  const std::size_t used = put({input.data(), input.size()}, error);
  if (error && error != HttpError::need_more && !stopped_) {
    throw Error(ErrorCode::connection_failed, "the server's answer is no valid HTTP/1.1: " + error.message());
  }
  return used;
}

void ResponseParser::consume_end() {
  beast::error_code error = HttpError::partial_message;
  if (got_some()) put_eof(error);
  if (error) throw Error(ErrorCode::connection_failed, "the server closed the connection within its answer");
}

void ResponseParser::on_response_impl(int status, string_view, int, error_code&) {
  response_.status = status;
}

void ResponseParser::on_field_impl(field id, string_view name, string_view value, error_code&) {
  if (header_over_) return;
  if (id == field::content_type) {
    response_.content_type.assign(value.data(), value.size());
  } else {
    response_.headers.add(std::string(view(name)), std::string(view(value)));
  }
}

std::size_t ResponseParser::on_body_impl(string_view body, error_code& error) {
  if (!on_body_(response_.status, view(body))) {
    stopped_ = true;
    error = HttpError::body_limit;
  }
  return body.size();
}

std::size_t ResponseParser::on_chunk_body_impl(std::uint64_t, string_view body, error_code& error) {
  return on_body_impl(body, error);
}

}  // namespace sojourn::http
