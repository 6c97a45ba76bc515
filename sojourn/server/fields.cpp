#include "sojourn/server/fields.hpp"

#include <fmt/format.h>

#include <utility>

namespace sojourn::server {

namespace {

Error wrong(std::string_view field, std::string_view expected) {
  return Error(ErrorCode::invalid_request, fmt::format("'{}' must be {}", field, expected), {{"field", field}});
}

}  // namespace

std::string Fields::string(std::string_view field) {
  Json* value = find(field);
  if (value == nullptr) return "";
  if (!value->is_string()) throw wrong(field, "a string");
  return std::string(value->get_string());
}

bool Fields::boolean(std::string_view field) {
  const Json* value = find(field);
  if (value == nullptr) return false;
  if (!value->is_bool()) throw wrong(field, "true or false");
  return value->get_bool();
}

JsonObject Fields::object(std::string_view field) {
  Json* value = find(field);
  if (value == nullptr) return {};
  if (!value->is_object()) throw wrong(field, "an object");
  return std::move(value->get_object());
}

Json Fields::any(std::string_view field) {
  Json* value = find(field);
  return value == nullptr ? Json() : std::move(*value);
}

std::optional<Seconds> Fields::seconds(std::string_view field, Seconds most) {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_int64() || value->get_int64() < 1 || value->get_int64() > most.count()) {
    throw wrong(field, fmt::format("a whole number of seconds from 1 to {}, not {}", most.count(), to_text(*value)));
  }
  return Seconds(value->get_int64());
}

std::optional<std::uint64_t> Fields::whole_number(std::string_view field, std::uint64_t most) {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_int64() || value->get_int64() < 0 || static_cast<std::uint64_t>(value->get_int64()) > most) {
    throw wrong(field, fmt::format("a whole number from 0 to {}, not {}", most, to_text(*value)));
  }
  return static_cast<std::uint64_t>(value->get_int64());
}

std::optional<Time> Fields::time(std::string_view field) {
  const std::string text = string(field);
  if (text.empty()) return std::nullopt;
  try {
    return parse_time(text);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("'{}': {}", field, error.message()), {{"field", field}});
  }
}

Json* Fields::find(std::string_view field) {
  Json* value = body_.if_contains(field);
  return value == nullptr || value->is_null() ? nullptr : value;
}

}  // namespace sojourn::server
