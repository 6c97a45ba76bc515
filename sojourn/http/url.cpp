#include "sojourn/http/url.hpp"

#include <algorithm>
#include <charconv>

#include "sojourn/base/error.hpp"

namespace sojourn::http {

namespace {

Error refusal(std::string_view text, std::string_view why) {
  return Error(ErrorCode::invalid_request,
               "'" + to_valid_utf8(text.substr(0, 256)) + "' is no URL to send to: " + std::string(why));
}

bool is_host_name(std::string_view host) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  return !host.empty() && host.size() <= 253 && host.find_first_not_of(allowed) == std::string_view::npos;
}

bool is_ipv6(std::string_view host) {
  return host.size() > 1 && host.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
}

}  // namespace

std::string Url::origin() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_https ? "https://" : "http://") + (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Url parse_url(std::string_view text) {
  if (text.size() > url_bytes) throw refusal(text, "it has more than " + std::to_string(url_bytes) + " bytes");
  if (!std::ranges::all_of(
          text, [](char c) { return c > ' ' && c < 0x7f && c != '\\' && c != '"' && c != '<' && c != '>'; })) {
    throw refusal(text, "it holds a character that must be percent-encoded");
  }
  Url url;
  std::string_view rest = text;
  url.is_https = rest.starts_with("https://");
  if (!url.is_https && !rest.starts_with("http://"))
    throw refusal(text, "it does not begin with https:// or http://");
  rest.remove_prefix(url.is_https ? 8 : 7);
  url.port = url.is_https ? 443 : 80;
  if (rest.find('#') != std::string_view::npos) throw refusal(text, "it has a fragment");
  const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
  std::string_view authority = rest.substr(0, end);
  if (end < rest.size()) url.target = (rest[end] == '?' ? "/" : "") + std::string(rest.substr(end));
  if (authority.find('@') != std::string_view::npos) throw refusal(text, "it names a user");

  const bool bracketed = authority.starts_with('[');
  const std::size_t host_end = bracketed ? authority.find(']') : std::min(authority.find(':'), authority.size());
  if (host_end == std::string_view::npos) throw refusal(text, "its host is none");
  const std::string_view host = authority.substr(bracketed ? 1 : 0, host_end - (bracketed ? 1 : 0));
  if (!(bracketed ? is_ipv6(host) : is_host_name(host))) throw refusal(text, "its host is none");
  url.host = host;
  authority.remove_prefix(host_end + (bracketed ? 1 : 0));
  if (authority.empty()) return url;
  const char* const last = authority.data() + authority.size();
  const auto [stop, problem] = std::from_chars(authority.data() + 1, last, url.port);
  if (authority.front() != ':' || problem != std::errc() || stop != last || url.port == 0) {
    throw refusal(text, "its port is none");
  }
  return url;
}

}  // namespace sojourn::http
