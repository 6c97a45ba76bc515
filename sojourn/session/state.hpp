#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// A session's state: JSON values by key, checked and copied on the way in and on the way out.
//
// Changes are kept apart until they are accepted (made durable) or discarded (a call failed), so that a call changes
// all it meant to or nothing.
namespace sojourn::session {

// Threads: none; the owner keeps calls apart.
class State {
 public:
  State() = default;

  // The state at rest; its texts are trusted until they are read.
  explicit State(const std::map<std::string, store::JsonText>& stored);

  // A copy of the value, or nothing. Errors: store_corrupt for a stored text that is no JSON.
  std::optional<Json> get(std::string_view key) const;
  Json get(std::string_view key, Json fallback) const;
  bool exists(std::string_view key) const;

  // Shape:  `key` is 1 to limits::state_key_bytes of UTF-8; the value's text at most limits::state_value_bytes.
  // Errors: invalid_request for the key, not_serializable or too_large for the value (details: "key", "pointer");
  //         too_large when the whole state would pass limits::state_bytes or state_keys. Nothing is changed then.
  void set(std::string_view key, const Json& value);

  // The same in two steps: what can be checked without a state, and the rest.
  static store::JsonText text_of(std::string_view key, const Json& value);
  void set_text(std::string_view key, store::JsonText text);  // that text_of made

  // Whether the key was there.
  bool remove(std::string_view key);
  void clear();

  std::vector<std::string> keys() const;  // sorted
  std::size_t size() const { return values_.size(); }
  JsonObject to_json() const;

  // What changed since the last accept or discard, by key; a key set to what it was is left out.
  std::vector<store::StateChange> changes() const;
  bool has_changes() const { return !before_.empty(); }

  void accept();
  std::vector<store::StateChange> discard();  // what each key that had changed is again

 private:
  void remember(std::string_view key);

  // As the text that is stored and hashed: setting makes it once, and a get parses its own copy.
  std::map<std::string, store::JsonText, std::less<>> values_;
  std::map<std::string, std::optional<store::JsonText>, std::less<>> before_;  // of the keys that changed
  std::size_t bytes_ = 0;
};

}  // namespace sojourn::session
