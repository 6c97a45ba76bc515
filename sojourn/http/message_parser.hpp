#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "sojourn/http/message.hpp"

// Beast's parser filling our messages directly. Private to this room: it is the only header that includes Beast.
namespace sojourn::http {

struct ParserLimits {
  std::size_t header_bytes;
  std::size_t body_bytes;
  const BodyStreams* streams = nullptr;  // none: no body streams
};

// Reads one request.
//
// It refuses what Beast lets pass although another reader in front of us may see other message borders in it (request
// smuggling): repeated Content-Length, any transfer coding but chunked, folded field values, none or several Hosts,
// methods in small letters.
class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  explicit RequestParser(ParserLimits limits);

  // Takes what it can from the start of `input` and returns how many bytes that were; the rest is to be offered
  // again, with more behind it. Errors: invalid_request, header_too_large, too_large; the parser is then of no
  // further use.
  std::size_t consume(std::string_view input);

  // Whether the client waits for "100 Continue" before it sends the body. To be asked while is_done() is false.
  bool expects_continue() const { return is_header_done() && expects_continue_; }

  bool is_http_1_1() const { return http_1_1_; }
  const Request& request() const { return request_; }

  // Whether the body is handed over in pieces; the request may then be taken as soon as is_header_done().
  bool streams() const { return streams_; }

  // What came of the body since the last call.
  std::string take_piece() { return std::exchange(piece_, {}); }

  // The request; to be called once, when is_done() or as streams() says.
  Request take();

 private:
  using error_code = boost::beast::error_code;
  using string_view = boost::beast::string_view;
  using verb = boost::beast::http::verb;
  using field = boost::beast::http::field;

  void on_request_impl(verb method, string_view name, string_view target, int version, error_code& error) override;
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(field id, string_view name, string_view value, error_code& error) override;
  void on_header_impl(error_code& error) override;
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override;
  std::size_t on_body_impl(string_view body, error_code&) override;
  void on_chunk_header_impl(std::uint64_t, string_view extension, error_code& error) override;
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override;
  void on_finish_impl(error_code&) override {}

  bool is_folded(string_view name, string_view value) const;
  void refuse(std::string_view complaint, error_code& error);

  ParserLimits limits_;
  Request request_;
  std::string piece_;
  bool streams_ = false;
  std::string_view input_;        // what consume() was given
  std::size_t header_bytes_ = 0;  // of the header that earlier calls of consume() took
  std::string_view complaint_;    // ours, where it says more than Beast's
  std::size_t trailer_bytes_ = 0;
  unsigned hosts_ = 0;
  unsigned lengths_ = 0;
  bool header_over_ = false;  // what comes as a field from now on is a trailer
  bool http_1_1_ = false;
  bool has_transfer_coding_ = false;
  bool expects_continue_ = false;
};

// Reads one response.
class ResponseParser final : public boost::beast::http::basic_parser<false> {
 public:
  // `on_body` gets the body in pieces and returns false to stop.
  ResponseParser(std::size_t header_bytes, bool is_head, std::function<bool(int status, std::string_view)> on_body);

  // Likewise. Errors: connection_failed for what is no HTTP.
  std::size_t consume(std::string_view input);

  // The server closed the connection. Errors: connection_failed if the answer is cut off by that.
  void consume_end();

  bool is_interim() const { return is_done() && response_.status / 100 == 1; }
  bool stopped() const { return stopped_; }
  Response take() { return std::move(response_); }

 private:
  using error_code = boost::beast::error_code;
  using string_view = boost::beast::string_view;
  using verb = boost::beast::http::verb;
  using field = boost::beast::http::field;

  void on_request_impl(verb, string_view, string_view, int, error_code&) override {}
  void on_response_impl(int status, string_view reason, int version, error_code&) override;
  void on_field_impl(field id, string_view name, string_view value, error_code&) override;
  void on_header_impl(error_code&) override { header_over_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code& error) override;
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code& error) override;
  void on_finish_impl(error_code&) override {}

  Response response_;
  std::function<bool(int status, std::string_view)> on_body_;
  bool header_over_ = false;
  bool stopped_ = false;
};

}  // namespace sojourn::http
