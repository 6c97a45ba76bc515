#include "sojourn/session/state.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::session {

namespace {

void check_key(std::string_view key) {
  if (key.empty() || key.size() > limits::state_key_bytes) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("a state key has 1 to {} bytes, this one has {}", limits::state_key_bytes, key.size()));
  }
  if (!is_valid_utf8(key)) throw Error(ErrorCode::invalid_request, "a state key must be valid UTF-8");
}

Json read(std::string_view key, const store::JsonText& text) {
  try {
    return parse_json(text, {.bytes = limits::state_value_bytes});
  } catch (const Error& error) {
    throw Error(ErrorCode::store_corrupt,
                fmt::format("the stored state[\"{}\"] cannot be read: {}", key, error.message()), {{"key", key}});
  }
}

}  // namespace

State::State(const std::map<std::string, store::JsonText>& stored) : values_(stored.begin(), stored.end()) {
  for (const auto& [key, text] : values_) bytes_ += text.size();
}

std::optional<Json> State::get(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return read(key, found->second);
}

Json State::get(std::string_view key, Json fallback) const {
  const auto found = values_.find(key);
  return found == values_.end() ? std::move(fallback) : read(key, found->second);
}

bool State::exists(std::string_view key) const {
  return values_.contains(key);
}

store::JsonText State::text_of(std::string_view key, const Json& value) {
  check_key(key);
  try {
    return to_text(value, {.bytes = limits::state_value_bytes, .depth = limits::json_depth});
  } catch (const Error& error) {
    JsonObject details = error.details();
    details["key"] = key;
    throw Error(error.code(), fmt::format("state[\"{}\"]: {}", key, error.message()), std::move(details));
  }
}

void State::set(std::string_view key, const Json& value) {
  set_text(key, text_of(key, value));
}

void State::set_text(std::string_view key, store::JsonText text) {
  const auto found = values_.find(key);
  const std::size_t before = found == values_.end() ? 0 : found->second.size();
  if (bytes_ - before + text.size() > limits::state_bytes) {
    throw Error(ErrorCode::too_large,
                fmt::format("state[\"{}\"] would take the session's state past {} bytes", key, limits::state_bytes));
  }
  if (found == values_.end() && values_.size() >= limits::state_keys) {
    throw Error(ErrorCode::too_large, fmt::format("a session's state has at most {} keys", limits::state_keys));
  }
  remember(key);
  bytes_ += text.size() - before;
  if (found == values_.end()) {
    values_.emplace(std::string(key), std::move(text));
  } else {
    found->second = std::move(text);
  }
}

bool State::remove(std::string_view key) {
  const auto found = values_.find(key);
  if (found == values_.end()) return false;
  remember(key);
  bytes_ -= found->second.size();
  values_.erase(found);
  return true;
}

void State::clear() {
  for (const std::string& key : keys()) remove(key);
}

std::vector<std::string> State::keys() const {
  std::vector<std::string> keys;
  keys.reserve(values_.size());
  for (const auto& [key, text] : values_) keys.push_back(key);
  return keys;
}

JsonObject State::to_json() const {
  JsonObject json;
  for (const auto& [key, text] : values_) json.emplace(key, read(key, text));
  return json;
}

std::vector<store::StateChange> State::changes() const {
  std::vector<store::StateChange> changes;
  for (const auto& [key, before] : before_) {
    const auto now = values_.find(key);
    if (now == values_.end()) {
      if (before) changes.push_back({key, std::nullopt});
    } else if (!before || *before != now->second) {
      changes.push_back({key, now->second});
    }
  }
  return changes;
}

void State::accept() {
  before_.clear();
}

std::vector<store::StateChange> State::discard() {
  std::vector<store::StateChange> restored;
  for (auto& [key, before] : before_) {
    restored.push_back({key, before});
    const auto now = values_.find(key);
    if (now != values_.end()) {
      bytes_ -= now->second.size();
      values_.erase(now);
    }
    if (before) {
      bytes_ += before->size();
      values_.emplace(key, std::move(*before));
    }
  }
  before_.clear();
  return restored;
}

// Keeps what `key` was before its first change, so that discard() can put it back.
void State::remember(std::string_view key) {
  if (before_.contains(key)) return;
  const auto found = values_.find(key);
  before_.emplace(std::string(key), found == values_.end() ? std::nullopt : std::optional(found->second));
}

}  // namespace sojourn::session
