#include "sojourn/server/query.hpp"

#include <fmt/format.h>

#include <charconv>

namespace sojourn::server {

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

}  // namespace sojourn::server
