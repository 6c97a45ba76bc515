#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sojourn/base/json.hpp"

// Values of Python as a board writes them with repr(), read without eval.
namespace sojourn::device {

struct None {
  bool operator==(const None&) const = default;
};

// An integer past 64 bits, as its decimal digits.
struct BigInteger {
  std::string digits;
  bool operator==(const BigInteger&) const = default;
};

struct Bytes {
  std::string data;
  bool operator==(const Bytes&) const = default;
};

// What has no literal, such as a function: its repr.
struct Opaque {
  std::string repr;
  bool operator==(const Opaque&) const = default;
};

struct Value;
struct DictEntry;

struct List {
  std::vector<Value> items;
  bool operator==(const List&) const = default;
};
struct Tuple {
  std::vector<Value> items;
  bool operator==(const Tuple&) const = default;
};
struct Set {
  std::vector<Value> items;  // in the board's order
  bool operator==(const Set&) const = default;
};
struct Dict {
  std::vector<DictEntry> items;  // in the board's order
  bool operator==(const Dict&) const = default;
};

struct Value {
  std::variant<None, bool, std::int64_t, BigInteger, double, std::string, Bytes, List, Tuple, Set, Dict, Opaque> is;

  bool operator==(const Value&) const = default;
};

struct DictEntry {
  Value key;
  Value value;
  bool operator==(const DictEntry&) const = default;
};

// Reads what repr() wrote. A text that is no literal, also one with an object without a literal inside, is Opaque as
// a whole. Shape: nested at most 64 deep; deeper is Opaque.
Value parse_repr(std::string_view text);

// The Python literal of `value`; of an Opaque its repr. A string is written in ASCII.
std::string to_python(const Value& value);

// What repr() of their tuple is on every board; nothing where that is not certain, as for floats and dicts.
std::string exact_repr(const std::vector<Value>& values);

// None is null, a tuple or set an array, a dict with nothing but strings for keys an object. What JSON lacks is an
// object with one member: {"bytes": BASE64}, {"int": DIGITS}, {"float": "nan" | "inf" | "-inf"}, {"dict": [[KEY,
// VALUE], ...]},
// {"repr": TEXT}; a string that is no Unicode is {"bytes": BASE64} too.
Json to_json(const Value& value);

// The other way, so that from_json(to_json(v)) is v but for tuples and sets, which come back as lists. Errors:
// invalid_request for base64 or digits that are none.
Value from_json(const Json& json);

}  // namespace sojourn::device
