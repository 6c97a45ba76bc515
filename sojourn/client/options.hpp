#pragma once

#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/http/url.hpp"

// How to reach a server, and how patient to be with it.
namespace sojourn::client {

struct Options {
  std::string url = "http://127.0.0.1:8080";  // http://HOST:PORT, or https://HOST where TLS is spoken
  std::string api_key{};                      // "" for none
  Milliseconds timeout = Seconds(900);        // for one operation with all its attempts
  Milliseconds connect_timeout = Seconds(5);  // for one connection
  Milliseconds read_timeout = Seconds(60);    // of silence, after which a connection counts as dead
  unsigned retries = 5;                       // attempts after the first, where that is safe
};

// Those of SOJOURN_URL, SOJOURN_API_KEY and SOJOURN_TIMEOUT (whole seconds), where they are set, else the defaults.
// Errors: config_invalid.
Options options_from_environment();

// Reads "http://HOST:PORT", "HOST:PORT", or "https://HOST[:PORT]". Errors: invalid_request.
http::Url parse_server_url(std::string_view text);

// Errors: config_invalid for options that cannot be.
void check(const Options& options);

}  // namespace sojourn::client
