#include "sojourn/http/message.hpp"

#include <algorithm>

#include "sojourn/base/json.hpp"

namespace sojourn::http {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

[[noreturn]] void refuse(std::string_view target, const std::string& complaint) {
  constexpr std::size_t shown = 200;
  throw Error(ErrorCode::invalid_request,
              "the request target '" + to_valid_utf8(target.substr(0, shown)) + "' " + complaint);
}

// `text` with its %XX decoded and, in a query, each '+' as a space.
std::string decode(std::string_view text, bool plus_is_space, std::string_view target) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) refuse(target, "has a '%' without two hex digits");
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  if (decoded.find('\0') != std::string::npos) refuse(target, "holds a NUL");
  if (!is_valid_utf8(decoded)) refuse(target, "is no valid UTF-8");
  return decoded;
}

std::vector<std::string> parse_path(std::string_view path, std::string_view target) {
  std::vector<std::string> segments;
  if (path == "/") return segments;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    std::string segment = decode(path.substr(at, end - at), false, target);
    if (segment == "." || segment == "..") refuse(target, "has a segment '" + segment + "'");
    if (segment.find('/') != std::string::npos) refuse(target, "has a slash within a segment");
    segments.push_back(std::move(segment));
    at = end + 1;
  }
  return segments;
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
    case Method::options:
      return "OPTIONS";
    case Method::other:
      return "OTHER";
  }
  return "OTHER";
}

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (equal_without_case(field, name)) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> Target::find(std::string_view key) const {
  for (const auto& [name, value] : query) {
    if (name == key) return value;
  }
  return std::nullopt;
}

Target parse_target(std::string_view target) {
  if (!target.starts_with('/')) refuse(target, "does not start with '/'");
  if (target.find('#') != std::string_view::npos) refuse(target, "has a fragment");
  const std::size_t mark = std::min(target.find('?'), target.size());
  Target parsed;
  parsed.path = parse_path(target.substr(0, mark), target);
  for (std::size_t at = mark + 1; at < target.size();) {
    const std::size_t end = std::min(target.find('&', at), target.size());
    const std::string_view pair = target.substr(at, end - at);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (!pair.empty()) {
      parsed.query.emplace_back(decode(pair.substr(0, equals), true, target),
                                decode(pair.substr(std::min(equals + 1, pair.size())), true, target));
    }
    at = end + 1;
  }
  return parsed;
}

}  // namespace sojourn::http
