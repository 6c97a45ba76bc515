#pragma once

#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "sojourn/device/device_session.hpp"

// A function on a board with the types of C++: what goes in and what comes back are values of the host's own.
namespace sojourn::device {

// How a type is a value of Python: bool, integers, floating point, strings, Bytes, optional (nothing is None), vector
// (a list), map (a dict) and Value itself.
template <class T>
struct PythonType;

template <class T>
Value to_value(const T& value) {
  return PythonType<T>::write(value);
}

// Nothing where `value` is none of the type, or does not fit it.
template <class T>
std::optional<T> from_value(const Value& value) {
  return PythonType<T>::read(value);
}

// Throws the app_error that a function returned something else than it was declared to.
[[noreturn]] void throw_wrong_type(const Function& function, const Value& returned);

template <class Signature>
struct TypedTask;

// As in  const TypedTask<double(std::vector<double>)> mean{{.function = {"mean", "def mean(values): ..."}}};
template <class Result, class... Arguments>
struct TypedTask<Result(Arguments...)> {
  Task task;

  // Errors: those of DeviceSession::run; app_error where what it returned is no Result.
  Async<Result> call(DeviceSession& session, Instant deadline, Arguments... arguments) const {
    std::vector<Value> values{to_value(arguments)...};
    const Value returned = co_await session.run(task, std::move(values), deadline);
    if constexpr (!std::is_void_v<Result>) {
      std::optional<Result> result = from_value<Result>(returned);
      if (!result) throw_wrong_type(task.function, returned);
      co_return std::move(*result);
    }
  }
};

template <>
struct PythonType<Value> {
  static Value write(const Value& value) { return value; }
  static std::optional<Value> read(const Value& value) { return value; }
};

// What a Value holds as it is.
template <class T>
  requires std::same_as<T, bool> || std::same_as<T, std::string> || std::same_as<T, Bytes>
struct PythonType<T> {
  static Value write(const T& value) { return {value}; }
  static std::optional<T> read(const Value& value) {
    const T* const held = std::get_if<T>(&value.is);
    return held == nullptr ? std::nullopt : std::optional<T>(*held);
  }
};

template <std::integral T>
  requires(!std::same_as<T, bool>)
struct PythonType<T> {
  static Value write(T value) {
    if (std::in_range<std::int64_t>(value)) return {static_cast<std::int64_t>(value)};
    return {BigInteger{std::to_string(value)}};
  }
  static std::optional<T> read(const Value& value) {
    const auto* const held = std::get_if<std::int64_t>(&value.is);
    if (held != nullptr && std::in_range<T>(*held)) return static_cast<T>(*held);
    return std::nullopt;
  }
};

template <std::floating_point T>
struct PythonType<T> {
  static Value write(T value) { return {static_cast<double>(value)}; }
  static std::optional<T> read(const Value& value) {
    if (const auto* const held = std::get_if<double>(&value.is)) return static_cast<T>(*held);
    if (const auto* const held = std::get_if<std::int64_t>(&value.is)) return static_cast<T>(*held);
    return std::nullopt;
  }
};

template <class T>
struct PythonType<std::optional<T>> {
  static Value write(const std::optional<T>& value) { return value ? to_value(*value) : Value{None{}}; }
  static std::optional<std::optional<T>> read(const Value& value) {
    if (value == Value{None{}}) return std::optional<T>();
    std::optional<T> inner = from_value<T>(value);
    if (!inner) return std::nullopt;
    return std::optional<std::optional<T>>(std::move(inner));
  }
};

// A tuple is read as a list is.
template <class T>
struct PythonType<std::vector<T>> {
  static Value write(const std::vector<T>& value) {
    List list;
    for (const T& item : value) list.items.push_back(to_value<T>(item));
    return {std::move(list)};
  }
  static std::optional<std::vector<T>> read(const Value& value) {
    const auto* const list = std::get_if<List>(&value.is);
    const auto* const tuple = std::get_if<Tuple>(&value.is);
    if (list == nullptr && tuple == nullptr) return std::nullopt;
    std::vector<T> items;
    for (const Value& each : list != nullptr ? list->items : tuple->items) {
      std::optional<T> item = from_value<T>(each);
      if (!item) return std::nullopt;
      items.push_back(std::move(*item));
    }
    return items;
  }
};

template <class Key, class T>
struct PythonType<std::map<Key, T>> {
  static Value write(const std::map<Key, T>& value) {
    Dict dict;
    for (const auto& [key, item] : value) dict.items.push_back({to_value(key), to_value(item)});
    return {std::move(dict)};
  }
  static std::optional<std::map<Key, T>> read(const Value& value) {
    const auto* const dict = std::get_if<Dict>(&value.is);
    if (dict == nullptr) return std::nullopt;
    std::map<Key, T> entries;
    for (const DictEntry& each : dict->items) {
      std::optional<Key> key = from_value<Key>(each.key);
      std::optional<T> item = from_value<T>(each.value);
      if (!key || !item) return std::nullopt;
      entries.insert_or_assign(std::move(*key), std::move(*item));
    }
    return entries;
  }
};

}  // namespace sojourn::device
