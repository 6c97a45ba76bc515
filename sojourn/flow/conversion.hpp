#pragma once

#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>
#include <concepts>
#include <string>
#include <type_traits>
#include <variant>

#include "sojourn/base/error.hpp"

// What nodes take and return: C++ values that convert to JSON and back.
//
// Numbers, strings, containers, optionals, tuples and structs described by BOOST_DESCRIBE_STRUCT do so by themselves;
// any other type by Boost.JSON's tag_invoke.
namespace sojourn::flow {

template <class T>
concept JsonConvertible =
    std::same_as<T, Json> || (boost::json::has_value_from<T>::value && boost::json::has_value_to<T>::value);

// The value that stands for T where one must be stored: void has none.
template <class T>
using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <JsonConvertible T>
Json to_json(const T& value) {
  if constexpr (std::same_as<T, Json>) {
    return value;
  } else {
    return boost::json::value_from(value);
  }
}

// Errors: invalid_request: "WHAT: why `json` is no T".
template <JsonConvertible T>
T from_json(const Json& json, const std::string& what) {
  if constexpr (std::same_as<T, Json>) {
    return json;
  } else {
    auto value = boost::json::try_value_to<T>(json);
    if (value.has_error()) {
      throw Error(ErrorCode::invalid_request, what + ": " + value.error().message(), {{"value", json}});
    }
    return std::move(*value);
  }
}

}  // namespace sojourn::flow
