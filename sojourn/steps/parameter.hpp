#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/json.hpp"

// What a step may be told by its caller. It is declared in get_info and checked before the algorithm runs.
namespace sojourn::steps {

enum class ParameterType { integer, real, boolean, choice, rect, string };

struct Parameter {
  std::string key;
  ParameterType type = ParameterType::string;
  bool required = false;
  Json fallback = nullptr;                                       // what a caller who says nothing gets; null: nothing
  std::optional<double> min = std::nullopt, max = std::nullopt;  // of integer and real
  std::optional<std::size_t> min_length = std::nullopt, max_length = std::nullopt;  // characters of string
  std::string pattern = {};               // of string: a regular expression (ECMAScript) that fits all of it
  std::vector<std::string> choices = {};  // of choice
  std::string unit = {};
  std::string description = {};

  // As in get_info's JSON. Errors of from_json: StepError invalid_result, which names the field below `where`.
  JsonObject to_json() const;
  static Parameter from_json(const JsonObject& json, const std::string& where);

  // The value as the algorithm gets it: a whole number for an integer, a double for a real.
  // Errors: StepError invalid_params, which names the parameter and its bound.
  Json checked(const Json& value) const;
};

inline constexpr std::size_t parameter_bytes = 4096;  // of a string

// `given` with each value checked and each fallback filled in.
// Errors: StepError invalid_params for a value that does not fit, one that is missing, and one that is not declared.
JsonObject checked(const std::vector<Parameter>& declared, const JsonObject& given);

}  // namespace sojourn::steps
