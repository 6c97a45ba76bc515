#include "sojourn/flow/context.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sojourn/base/error.hpp"

namespace sojourn::flow {

namespace {

Error unknown_key(std::string_view key, const std::vector<std::string>& known) {
  return Error(ErrorCode::not_found,
               fmt::format("the flow's context has no key \"{}\"; it has: {}", key, fmt::join(known, ", ")));
}

std::vector<std::string> keys_of(const JsonObject& values) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : values) keys.emplace_back(key);
  return keys;
}

}  // namespace

std::optional<Json> Context::find(std::string_view key) const {
  const std::scoped_lock lock(mutex_);
  const Json* value = values_.if_contains(key);
  if (value == nullptr) return std::nullopt;
  return *value;
}

Json Context::get(std::string_view key) const {
  auto value = find(key);
  if (!value) throw unknown_key(key, keys());
  return std::move(*value);
}

Json Context::get(std::string_view key, Json fallback) const {
  return find(key).value_or(std::move(fallback));
}

void Context::put(std::string_view key, Json value) {
  const std::scoped_lock lock(mutex_);
  values_[key] = std::move(value);
}

void Context::update(const JsonObject& values) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [key, value] : values) values_[key] = value;
}

Json Context::modify(std::string_view key, const std::function<Json(Json)>& change) {
  const std::scoped_lock lock(mutex_);
  const Json* before = values_.if_contains(key);
  Json after = change(before == nullptr ? Json() : *before);
  values_[key] = after;
  return after;
}

void Context::remove(std::string_view key) {
  const std::scoped_lock lock(mutex_);
  if (values_.erase(key) == 0) throw unknown_key(key, keys_of(values_));
}

std::vector<std::string> Context::keys() const {
  const std::scoped_lock lock(mutex_);
  return keys_of(values_);
}

JsonObject Context::all() const {
  const std::scoped_lock lock(mutex_);
  return values_;
}

}  // namespace sojourn::flow
