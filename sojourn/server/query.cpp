#include "sojourn/server/query.hpp"

#include <fmt/format.h>

#include <charconv>

namespace sojourn::server {

namespace {

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace

std::uint64_t whole_number(const http::Target& target, std::string_view field, std::uint64_t fallback,
                           std::uint64_t most) {
  const auto text = target.find(field);
  if (!text) return fallback;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size() || number < 1 || number > most) {
    throw Error(ErrorCode::invalid_request, fmt::format("'{}' must be a whole number from 1 to {}", field, most),
                {{"field", field}});
  }
  return number;
}

std::optional<Time> time_of(const http::Target& target, std::string_view field) {
  const auto text = target.find(field);
  if (!text) return std::nullopt;
  try {
    return parse_time(*text);
  } catch (const Error& error) {
    throw Error(ErrorCode::invalid_request, fmt::format("'{}': {}", field, error.message()), {{"field", field}});
  }
}

std::string next_page(std::string_view path, const http::Target& target, std::string_view field,
                      std::string_view value) {
  std::string link = fmt::format("<{}?{}={}", path, field, percent_encoded(value));
  for (const auto& [key, other] : target.query) {
    if (key != field) link.append("&").append(percent_encoded(key)).append("=").append(percent_encoded(other));
  }
  return link + ">; rel=\"next\"";
}

}  // namespace sojourn::server
