#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Where a request to somebody else's server goes.
namespace sojourn::http {

struct Url {
  bool is_https = false;
  std::string host;  // a name, or an address without brackets
  std::uint16_t port = 80;
  std::string target = "/";  // path and query

  std::string origin() const;  // "https://example.com:443"
};

inline constexpr std::size_t url_bytes = 2'048;

// Reads "http://HOST[:PORT][/PATH][?QUERY]", or https. Names of other alphabets are to be given as xn--...
// Errors: invalid_request, also for a user in it, a fragment, and what would have to be percent-encoded.
Url parse_url(std::string_view text);

}  // namespace sojourn::http
