#pragma once

#include <boost/describe/enumerators.hpp>
#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>

#include "sojourn/base/json.hpp"

// The JSON schema of what converts to and from JSON, so that models know what they may call a tool with.
namespace sojourn::flow {

namespace detail {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
concept DescribedStruct = std::is_class_v<T> && boost::describe::has_describe_members<T>::value;

template <class T>
concept MapLike = requires { typename T::mapped_type; } && std::convertible_to<typename T::key_type, std::string>;

template <class T>
concept ListLike = requires(const T& list) {
  typename T::value_type;
  list.begin();
};

}  // namespace detail

// Every member of a struct is required, and no other is taken; a std::optional may be null. A type of another kind
// says its schema itself: static JsonObject json_schema().
template <class T>
JsonObject schema_of() {
  if constexpr (requires { T::json_schema(); }) {
    return T::json_schema();
  } else if constexpr (std::same_as<T, Json>) {
    return {};
  } else if constexpr (std::same_as<T, bool>) {
    return {{"type", "boolean"}};
  } else if constexpr (std::is_integral_v<T>) {
    return {{"type", "integer"}};
  } else if constexpr (std::is_floating_point_v<T>) {
    return {{"type", "number"}};
  } else if constexpr (std::convertible_to<T, std::string_view>) {
    return {{"type", "string"}};
  } else if constexpr (std::is_enum_v<T>) {
    JsonArray names;
    boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>(
        [&](auto each) { names.emplace_back(each.name); });
    return {{"type", "string"}, {"enum", std::move(names)}};
  } else if constexpr (detail::is_optional<T>) {
    return {{"anyOf", JsonArray{schema_of<typename T::value_type>(), JsonObject{{"type", "null"}}}}};
  } else if constexpr (detail::DescribedStruct<T>) {
    JsonObject properties;
    JsonArray required;
    using Members = boost::describe::describe_members<T, boost::describe::mod_any_access>;
    boost::mp11::mp_for_each<Members>([&](auto member) {
      using Member = std::remove_cvref_t<decltype(std::declval<T&>().*member.pointer)>;
      properties[member.name] = schema_of<Member>();
      required.emplace_back(member.name);
    });
    return {{"type", "object"},
            {"properties", std::move(properties)},
            {"required", std::move(required)},
            {"additionalProperties", false}};
  } else if constexpr (detail::MapLike<T>) {
    return {{"type", "object"}, {"additionalProperties", schema_of<typename T::mapped_type>()}};
  } else {
    static_assert(detail::ListLike<T>, "a type that a model is to give must say its JSON schema: json_schema()");
    return {{"type", "array"}, {"items", schema_of<typename T::value_type>()}};
  }
}

}  // namespace sojourn::flow
