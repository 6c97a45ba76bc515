#include "sojourn/client/options.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/http/client.hpp"

namespace sojourn::client {

namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Options options_from_environment() {
  Options options;
  if (std::string url = variable("SOJOURN_URL"); !url.empty()) options.url = std::move(url);
  options.api_key = variable("SOJOURN_API_KEY");
  if (const std::string text = variable("SOJOURN_TIMEOUT"); !text.empty()) {
    std::uint32_t seconds = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (problem != std::errc() || end != text.data() + text.size()) {
      throw Error(ErrorCode::config_invalid, "SOJOURN_TIMEOUT must be a whole number of seconds");
    }
    options.timeout = Seconds(seconds);
  }
  return options;
}

http::Url parse_server_url(std::string_view text) {
  if (!text.starts_with("https://")) {
    http::Address address = http::parse_address(text);
    return {.host = std::move(address.host), .port = address.port};
  }
  http::Url url = http::parse_url(text);
  if (url.target != "/") {
    throw Error(ErrorCode::invalid_request,
                "'" + to_valid_utf8(text) + "' has a path, but a server's URL is https://HOST");
  }
  return url;
}

void check(const Options& options) {
  try {
    parse_server_url(options.url);
  } catch (const Error& error) {
    throw Error(ErrorCode::config_invalid, "the server's URL: " + error.message());
  }
  if (!std::ranges::all_of(options.api_key, [](char c) { return c > ' ' && c <= '~'; })) {
    throw Error(ErrorCode::config_invalid, "the API key holds a space, a control character or one that is not ASCII");
  }
  if (std::min({options.timeout, options.connect_timeout, options.read_timeout}) <= Milliseconds(0)) {
    throw Error(ErrorCode::config_invalid, "the times of a client must be longer than nothing");
  }
}

}  // namespace sojourn::client
