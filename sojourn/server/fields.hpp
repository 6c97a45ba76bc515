#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"

namespace sojourn::server {

// The fields of a JSON body, each taken once and checked. A null field counts as absent.
// Errors: invalid_request naming the field.
class Fields {
 public:
  explicit Fields(JsonObject body) : body_(std::move(body)) {}

  std::string string(std::string_view field);  // "" where it is absent
  bool boolean(std::string_view field);        // false
  JsonObject object(std::string_view field);   // empty
  Json any(std::string_view field);            // null
  std::optional<Seconds> seconds(std::string_view field, Seconds most);
  std::optional<std::uint64_t> whole_number(std::string_view field, std::uint64_t most);  // from 0 on
  std::optional<Time> time(std::string_view field);

  bool has(std::string_view field) { return find(field) != nullptr; }

 private:
  Json* find(std::string_view field);

  JsonObject body_;
};

}  // namespace sojourn::server
