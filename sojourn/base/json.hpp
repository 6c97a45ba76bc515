#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>

// Strict JSON: what crosses a boundary is finite, valid UTF-8, without duplicate keys, and bounded in depth and size.
//
// The values are Boost.JSON's. Reading and writing are ours at the edges only: Boost's parser keeps the last of two
// equal keys and lets 1e999 become infinity, and its writer turns 12.5 into 1.25E1.
namespace sojourn {

using Json = boost::json::value;
using JsonObject = boost::json::object;
using JsonArray = boost::json::array;

struct JsonLimits {
  std::size_t bytes = 8u << 20;  // of the text
  std::size_t depth = 64;        // of nested arrays and objects
};

// Reads one JSON text.
// Errors: invalid_json (details: "pointer" of the offending value, "offset" in bytes) for anything RFC 8259 forbids,
//         and for duplicate keys, numbers past a double, integers past 64 bits, and texts deeper than `limits.depth`;
//         too_large past `limits.bytes`.
Json parse_json(std::string_view text, JsonLimits limits = {});

// Reads one JSON text that must be an object. Errors: those of parse_json; invalid_json for any other value.
JsonObject parse_json_object(std::string_view text, JsonLimits limits = {});

// Appends `value` as one line of JSON: shortest numbers that read back as themselves, doubles kept apart from
// integers (1.0, not 1), only what must be escaped is. Errors: not_serializable (details: "pointer") for NaN,
// infinities, broken UTF-8, or nesting past `limits.depth`;
//         too_large past `limits.bytes`. `out` then holds an unspecified part of the text.
void append_json(std::string& out, const Json& value, JsonLimits limits = {});
void append_json(std::string& out, const JsonObject& value, JsonLimits limits = {});

// Appends `text` as a JSON string with its quotes. Errors: not_serializable for broken UTF-8.
void append_json_string(std::string& out, std::string_view text);

std::string to_text(const Json& value, JsonLimits limits = {});
std::string to_text(const JsonObject& value, JsonLimits limits = {});

// `text` with each byte that is no valid UTF-8 replaced by U+FFFD, for what comes from outside and must be shown.
std::string to_valid_utf8(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace sojourn
