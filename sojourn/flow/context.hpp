#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"

// What all nodes of a flow session share: names and JSON values. What one node puts, the others see.
namespace sojourn::flow {

// Threads: safe; each call is atomic.
class Context {
 public:
  explicit Context(JsonObject values = {}) : values_(std::move(values)) {}

  // Errors: not_found, naming the key and those there are.
  Json get(std::string_view key) const;
  Json get(std::string_view key, Json fallback) const;
  std::optional<Json> find(std::string_view key) const;

  void put(std::string_view key, Json value);
  void update(const JsonObject& values);  // puts each of them

  // Puts what `change` makes of the value (null where there is none), and returns that. No other node comes between.
  // `change` may use the context; what it puts under the same key is replaced.
  Json modify(std::string_view key, const std::function<Json(Json)>& change);

  // Errors: not_found.
  void remove(std::string_view key);

  std::vector<std::string> keys() const;
  JsonObject all() const;

 private:
  mutable std::recursive_mutex mutex_;  // for modify(), whose change may use the context
  JsonObject values_;
};

}  // namespace sojourn::flow
