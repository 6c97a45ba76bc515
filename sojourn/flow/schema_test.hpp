#pragma once

#include <algorithm>
#include <regex>
#include <string>

#include "sojourn/base/json.hpp"

// As much of JSON Schema as docs/formats uses.
namespace sojourn::flow {

class Schema {
 public:
  explicit Schema(Json schema) : root_(std::move(schema)) {}

  // What is wrong with `value`, with the path to it; "" if nothing is.
  std::string fault_of(const Json& value) const { return fault(root_.as_object(), value, "$"); }

 private:
  static bool is_type(const Json& value, std::string_view type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "null") return value.is_null();
    if (type == "integer") return value.is_int64() || value.is_uint64();
    if (type == "number") return value.is_number();
    return type == "boolean" && value.is_bool();
  }

  static bool is_one_of_types(const Json& value, const Json& types) {
    if (types.is_string()) return is_type(value, types.as_string());
    return std::ranges::any_of(types.as_array(), [&](const Json& type) { return is_type(value, type.as_string()); });
  }

  const JsonObject& referred(std::string_view reference) const {
    return root_.as_object().at("$defs").as_object().at(reference.substr(8)).as_object();
  }

  std::string fault(const JsonObject& schema, const Json& value, const std::string& path) const {
    if (const Json* reference = schema.if_contains("$ref"))
      return fault(referred(reference->as_string()), value, path);
    if (const Json* types = schema.if_contains("type"); types && !is_one_of_types(value, *types)) {
      return path + " is no " + to_text(*types);
    }
    if (const Json* values = schema.if_contains("enum");
        values && std::ranges::find(values->as_array(), value) == values->as_array().end()) {
      return path + " is none of " + to_text(*values);
    }
    if (const Json* pattern = schema.if_contains("pattern");
        pattern && value.is_string() &&
        !std::regex_search(std::string(value.as_string()), std::regex(std::string(pattern->as_string())))) {
      return path + " does not match";
    }
    if (value.is_object()) return fault_of_members(schema, value.as_object(), path);
    if (const Json* items = schema.if_contains("items"); items && value.is_array()) {
      for (std::size_t i = 0; i < value.as_array().size(); ++i) {
        const std::string inner =
            fault(items->as_object(), value.as_array()[i], path + "[" + std::to_string(i) + "]");
        if (!inner.empty()) return inner;
      }
    }
    return "";
  }

  std::string fault_of_members(const JsonObject& schema, const JsonObject& value, const std::string& path) const {
    if (const Json* required = schema.if_contains("required")) {
      for (const Json& key : required->as_array()) {
        if (!value.contains(key.as_string())) return path + " has no " + std::string(key.as_string());
      }
    }
    const Json* properties = schema.if_contains("properties");
    for (const auto& [key, member] : value) {
      const std::string inside = path + "." + std::string(key);
      const Json* known = properties ? properties->as_object().if_contains(key) : nullptr;
      if (!known && schema.contains("additionalProperties")) return inside + " is unknown";
      const std::string inner = known ? fault(known->as_object(), member, inside) : "";
      if (!inner.empty()) return inner;
    }
    return "";
  }

  Json root_;
};

}  // namespace sojourn::flow
