#include "sojourn/steps/parameter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <regex>
#include <utility>

#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

namespace {

constexpr std::array type_names{"int", "float", "bool", "enum", "rect", "string"};

std::string_view name_of(ParameterType type) {
  return type_names[static_cast<std::size_t>(type)];
}

[[noreturn]] void refuse_value(const Parameter& parameter, std::string_view reason) {
  throw StepError(StepCode::invalid_params, fmt::format("user_params.{}: {}", parameter.key, reason));
}

[[noreturn]] void refuse_declaration(const std::string& field, std::string_view reason) {
  throw StepError(StepCode::invalid_result, fmt::format("{}: {}", field, reason));
}

Json checked_number(const Parameter& parameter, const Json& value) {
  const bool whole = value.is_int64() || (value.is_uint64() && std::in_range<std::int64_t>(value.get_uint64()));
  if (parameter.type == ParameterType::integer && !whole) refuse_value(parameter, "must be a whole number");
  if (!value.is_number()) refuse_value(parameter, "must be a number");
  const double number = value.to_number<double>();
  if (!std::isfinite(number)) refuse_value(parameter, "must be a finite number");
  if (parameter.min && number < *parameter.min) {
    refuse_value(parameter, fmt::format("is {}; at least {} is allowed", number, *parameter.min));
  }
  if (parameter.max && number > *parameter.max) {
    refuse_value(parameter, fmt::format("is {}; at most {} is allowed", number, *parameter.max));
  }
  if (parameter.type == ParameterType::real) return number;
  return value.to_number<std::int64_t>();
}

void check_string(const Parameter& parameter, const Json& value) {
  if (!value.is_string()) refuse_value(parameter, "must be text");
  const std::string_view text = value.get_string();
  // Bounded also because std::regex takes stack for each character.
  if (text.size() > parameter_bytes) refuse_value(parameter, fmt::format("has more than {} bytes", parameter_bytes));
  const auto length =
      static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
  if (parameter.min_length && length < *parameter.min_length) {
    refuse_value(parameter, fmt::format("has {} characters; at least {} are needed", length, *parameter.min_length));
  }
  if (parameter.max_length && length > *parameter.max_length) {
    refuse_value(parameter, fmt::format("has {} characters; at most {} are allowed", length, *parameter.max_length));
  }
  if (!parameter.pattern.empty() && !std::regex_match(text.begin(), text.end(), std::regex(parameter.pattern))) {
    refuse_value(parameter, fmt::format("does not fit the pattern {}", parameter.pattern));
  }
}

void check_rect(const Parameter& parameter, const Json& value) {
  static const std::regex shape("[0-9]{1,9},[0-9]{1,9},0*[1-9][0-9]{0,8},0*[1-9][0-9]{0,8}");
  if (!value.is_string() || value.get_string().size() > 64 ||
      !std::regex_match(value.get_string().begin(), value.get_string().end(), shape)) {
    refuse_value(parameter, "must be \"x,y,width,height\" in whole pixels, with a size");
  }
}

std::optional<double> number_at(const JsonObject& json, std::string_view key, const std::string& where) {
  const Json* value = json.if_contains(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_number()) refuse_declaration(fmt::format("{}.{}", where, key), "must be a number");
  return value->to_number<double>();
}

std::optional<std::size_t> length_at(const JsonObject& json, std::string_view key, const std::string& where) {
  const auto number = number_at(json, key, where);
  if (!number) return std::nullopt;
  if (*number < 0 || *number != std::floor(*number)) {
    refuse_declaration(fmt::format("{}.{}", where, key), "must be a whole number, at least 0");
  }
  return static_cast<std::size_t>(*number);
}

std::string text_at(const JsonObject& json, std::string_view key, const std::string& where) {
  const Json* value = json.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_string()) refuse_declaration(fmt::format("{}.{}", where, key), "must be text");
  return std::string(value->get_string());
}

ParameterType type_at(const JsonObject& json, const std::string& where) {
  const std::string name = text_at(json, "type", where);
  const auto* found = std::ranges::find(type_names, name);
  if (found == type_names.end()) {
    refuse_declaration(where + ".type", fmt::format("\"{}\" is none of {}", name, fmt::join(type_names, ", ")));
  }
  return static_cast<ParameterType>(found - type_names.begin());
}

std::vector<std::string> choices_at(const JsonObject& json, const std::string& where) {
  std::vector<std::string> choices;
  const Json* list = json.if_contains("choices");
  if (list == nullptr || list->is_null()) return choices;
  if (!list->is_array()) refuse_declaration(where + ".choices", "must be a list of texts");
  for (const Json& choice : list->get_array()) {
    if (!choice.is_string()) refuse_declaration(where + ".choices", "must be a list of texts");
    choices.emplace_back(choice.get_string());
  }
  return choices;
}

// What holds for the parts of a declaration together.
void check_declaration(const Parameter& parameter, const std::string& where) {
  if (parameter.key.empty()) refuse_declaration(where + ".key", "must be there");
  if (parameter.type == ParameterType::choice && parameter.choices.empty()) {
    refuse_declaration(where + ".choices", "an enum needs some");
  }
  try {
    std::regex{parameter.pattern};
  } catch (const std::regex_error&) {
    refuse_declaration(where + ".pattern", "is no regular expression");
  }
  if (parameter.fallback.is_null()) return;
  try {
    parameter.checked(parameter.fallback);
  } catch (const StepError& error) {
    refuse_declaration(where + ".default", error.message());
  }
}

}  // namespace

JsonObject Parameter::to_json() const {
  JsonObject json{{"key", key}, {"type", name_of(type)}, {"required", required}};
  if (!fallback.is_null()) json["default"] = fallback;
  if (min) json["min"] = *min;
  if (max) json["max"] = *max;
  if (min_length) json["min_length"] = *min_length;
  if (max_length) json["max_length"] = *max_length;
  if (!pattern.empty()) json["pattern"] = pattern;
  if (!choices.empty()) json["choices"] = JsonArray(choices.begin(), choices.end());
  if (!unit.empty()) json["unit"] = unit;
  if (!description.empty()) json["description"] = description;
  return json;
}

Parameter Parameter::from_json(const JsonObject& json, const std::string& where) {
  Parameter parameter;
  parameter.key = text_at(json, "key", where);
  parameter.type = type_at(json, where);
  if (const Json* required = json.if_contains("required"); required != nullptr && !required->is_null()) {
    if (!required->is_bool()) refuse_declaration(where + ".required", "must be true or false");
    parameter.required = required->get_bool();
  }
  if (const Json* fallback = json.if_contains("default")) parameter.fallback = *fallback;
  parameter.min = number_at(json, "min", where);
  parameter.max = number_at(json, "max", where);
  parameter.min_length = length_at(json, "min_length", where);
  parameter.max_length = length_at(json, "max_length", where);
  parameter.pattern = text_at(json, "pattern", where);
  parameter.choices = choices_at(json, where);
  parameter.unit = text_at(json, "unit", where);
  parameter.description = text_at(json, "description", where);
  check_declaration(parameter, where);
  return parameter;
}

Json Parameter::checked(const Json& value) const {
  switch (type) {
    case ParameterType::integer:
    case ParameterType::real:
      return checked_number(*this, value);
    case ParameterType::boolean:
      if (!value.is_bool()) refuse_value(*this, "must be true or false");
      return value;
    case ParameterType::choice:
      if (!value.is_string() || std::ranges::find(choices, std::string(value.get_string())) == choices.end()) {
        refuse_value(*this, fmt::format("must be one of {}", fmt::join(choices, ", ")));
      }
      return value;
    case ParameterType::rect:
      check_rect(*this, value);
      return value;
    case ParameterType::string:
      check_string(*this, value);
      return value;
  }
  return value;
}

JsonObject checked(const std::vector<Parameter>& declared, const JsonObject& given) {
  for (const auto& [key, value] : given) {
    if (std::ranges::find(declared, std::string_view(key), &Parameter::key) == declared.end()) {
      throw StepError(StepCode::invalid_params,
                      fmt::format("user_params.{}: the step declares no such parameter", std::string_view(key)));
    }
  }
  JsonObject result;
  for (const Parameter& parameter : declared) {
    const Json* value = given.if_contains(parameter.key);
    if (value != nullptr && !value->is_null()) {
      result[parameter.key] = parameter.checked(*value);
    } else if (!parameter.fallback.is_null()) {
      result[parameter.key] = parameter.checked(parameter.fallback);
    } else if (parameter.required) {
      refuse_value(parameter, "is missing");
    }
  }
  return result;
}

}  // namespace sojourn::steps
