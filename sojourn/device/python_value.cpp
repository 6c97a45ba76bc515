#include "sojourn/device/python_value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "sojourn/base/error.hpp"
#include "sojourn/base/signature.hpp"
#include "sojourn/device/checked_code.hpp"

namespace sojourn::device {

namespace {

constexpr int deepest = 64;

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18 & 0x07));
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

// A recursive descent over one repr. Each function takes what it reads, or says by an empty result that it is not
// there.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  std::optional<Value> whole() {
    auto value = read(0);
    if (!rest_.empty()) return std::nullopt;
    return value;
  }

 private:
  bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  // With the space that repr() writes behind it, and people may leave out.
  bool take_spaced(std::string_view token) {
    if (!take(token)) return false;
    take(" ");
    return true;
  }
  bool at(char c) const { return rest_.starts_with(c); }

  std::optional<Value> read(int depth) {
    if (depth > deepest) return std::nullopt;
    if (take("None")) return Value{None{}};
    if (take("True")) return Value{true};
    if (take("False")) return Value{false};
    if (at('b') && rest_.size() > 1 && (rest_[1] == '\'' || rest_[1] == '"')) {
      rest_.remove_prefix(1);
      auto data = read_quoted(true);
      if (!data) return std::nullopt;
      return Value{Bytes{std::move(*data)}};
    }
    if (at('\'') || at('"')) {
      auto text = read_quoted(false);
      if (!text) return std::nullopt;
      return Value{std::move(*text)};
    }
    if (take("[")) return read_items<List>(']', depth);
    if (take("(")) return read_items<Tuple>(')', depth);
    if (take("set()")) return Value{Set{}};
    if (take("{")) return read_braces(depth);
    return read_number();
  }

  std::optional<std::string> read_quoted(bool bytes) {
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    std::string out;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == quote) return out;
      if (c != '\\') {
        out += c;
      } else if (!read_escape(out, bytes)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  bool read_escape(std::string& out, bool bytes) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    switch (c) {
      case 'n':
        out += '\n';
        return true;
      case 'r':
        out += '\r';
        return true;
      case 't':
        out += '\t';
        return true;
      case '\\':
      case '\'':
      case '"':
        out += c;
        return true;
      case 'x':
        return read_hex(out, 2, bytes);
      case 'u':
        return read_hex(out, 4, false);
      case 'U':
        return read_hex(out, 8, false);
      default:
        return false;
    }
  }

  bool read_hex(std::string& out, std::size_t digits, bool byte) {
    if (rest_.size() < digits) return false;
    std::uint32_t code = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + digits, code, 16);
    if (error != std::errc() || end != rest_.data() + digits || code > 0x10FFFF) return false;
    rest_.remove_prefix(digits);
    if (byte) {
      out += static_cast<char>(code);
    } else {
      append_utf8(out, code);
    }
    return true;
  }

  template <class Items>
  std::optional<Value> read_items(char close, int depth) {
    Items items;
    while (!at(close)) {
      auto item = read(depth + 1);
      if (!item) return std::nullopt;
      items.items.push_back(std::move(*item));
      if (!take_spaced(",") && !at(close)) return std::nullopt;
    }
    rest_.remove_prefix(1);
    return Value{std::move(items)};
  }

  std::optional<Value> read_braces(int depth) {
    if (take("}")) return Value{Dict{}};
    auto first = read(depth + 1);
    if (!first) return std::nullopt;
    if (!at(':')) {
      if (!take_spaced(",") && !at('}')) return std::nullopt;
      auto others = read_items<Set>('}', depth);
      if (!others) return std::nullopt;
      auto& items = std::get<Set>(others->is).items;
      items.insert(items.begin(), std::move(*first));
      return others;
    }
    Dict dict;
    for (;;) {
      if (!take_spaced(":")) return std::nullopt;
      auto value = read(depth + 1);
      if (!value) return std::nullopt;
      dict.items.push_back({std::move(*first), std::move(*value)});
      if (take("}")) return Value{std::move(dict)};
      if (!take_spaced(",")) return std::nullopt;
      first = read(depth + 1);
      if (!first) return std::nullopt;
    }
  }

  std::optional<Value> read_number() {
    const std::size_t length = std::min(rest_.find_first_not_of("0123456789+-.einfa"), rest_.size());
    const std::string_view word = rest_.substr(0, length);
    const std::string_view digits = word.starts_with('-') ? word.substr(1) : word;
    if (digits.empty()) return std::nullopt;
    rest_.remove_prefix(length);
    if (digits.find_first_not_of("0123456789") == digits.npos) {
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + length, number);
      if (error == std::errc()) return Value{number};
      return Value{BigInteger{std::string(word)}};
    }
    double number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + length, number);
    if (end != word.data() + length || error == std::errc::invalid_argument) return std::nullopt;
    return Value{number};
  }

  std::string_view rest_;
};

std::string write_string(std::string_view text) {
  std::string out = "'";
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      // One character in the notation of a bytes literal, which is that of a string too.
      const std::string literal = bytes_literal(text.substr(i, 1));
      out += byte == '\'' ? "\\'" : literal.substr(2, literal.size() - 3);
      ++i;
      continue;
    }
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    std::uint32_t code = byte & (0xFFu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3F);
    out += code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
    i += length;
  }
  return out + '\'';
}

std::string write_float(double number) {
  if (std::isfinite(number)) return to_text(Json(number));
  return fmt::format("float('{}')", std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf");
}

std::string join(const std::vector<Value>& items) {
  std::string out;
  for (const Value& item : items) out += (out.empty() ? "" : ",") + to_python(item);
  return out;
}

struct PythonWriter {
  std::string operator()(None) const { return "None"; }
  std::string operator()(bool flag) const { return flag ? "True" : "False"; }
  std::string operator()(std::int64_t number) const { return std::to_string(number); }
  std::string operator()(const BigInteger& number) const { return number.digits; }
  std::string operator()(double number) const { return write_float(number); }
  std::string operator()(const std::string& text) const {
    return is_valid_utf8(text) ? write_string(text) : fmt::format("str({},'utf8')", bytes_literal(text));
  }
  std::string operator()(const Bytes& bytes) const { return bytes_literal(bytes.data); }
  std::string operator()(const List& list) const { return "[" + join(list.items) + "]"; }
  std::string operator()(const Tuple& tuple) const {
    return "(" + join(tuple.items) + (tuple.items.empty() ? ")" : ",)");
  }
  std::string operator()(const Set& set) const { return set.items.empty() ? "set()" : "{" + join(set.items) + "}"; }
  std::string operator()(const Dict& dict) const {
    std::string out;
    for (const auto& [key, value] : dict.items) {
      out += fmt::format("{}{}:{}", out.empty() ? "" : ",", to_python(key), to_python(value));
    }
    return "{" + out + "}";
  }
  std::string operator()(const Opaque& opaque) const { return opaque.repr; }
};

JsonArray to_array(const std::vector<Value>& items) {
  JsonArray array;
  for (const Value& item : items) array.push_back(to_json(item));
  return array;
}

struct JsonWriter {
  Json operator()(None) const { return nullptr; }
  Json operator()(bool flag) const { return flag; }
  Json operator()(std::int64_t number) const { return number; }
  Json operator()(const BigInteger& number) const { return {{"int", number.digits}}; }
  Json operator()(double number) const {
    if (std::isfinite(number)) return number;
    return {{"float", std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf"}};
  }
  Json operator()(const std::string& text) const {
    if (!is_valid_utf8(text)) return (*this)(Bytes{text});
    return Json(text);
  }
  Json operator()(const Bytes& bytes) const { return {{"bytes", to_base64(bytes.data)}}; }
  Json operator()(const List& list) const { return to_array(list.items); }
  Json operator()(const Tuple& tuple) const { return to_array(tuple.items); }
  Json operator()(const Set& set) const { return to_array(set.items); }
  Json operator()(const Dict& dict) const {
    JsonObject object;
    bool plain = true;
    for (const auto& [key, value] : dict.items) {
      const auto* name = std::get_if<std::string>(&key.is);
      plain = plain && name != nullptr && is_valid_utf8(*name);
      if (plain) object.emplace(*name, to_json(value));
    }
    // What would be read as a value that JSON lacks must not look like one.
    if (plain && !is_special(object)) return object;
    JsonArray pairs;
    for (const auto& [key, value] : dict.items) pairs.push_back(JsonArray{to_json(key), to_json(value)});
    return {{"dict", std::move(pairs)}};
  }
  Json operator()(const Opaque& opaque) const { return {{"repr", to_valid_utf8(opaque.repr)}}; }

  static bool is_special(const JsonObject& object) {
    if (object.size() != 1) return false;
    const std::string_view name = object.begin()->key();
    return name == "bytes" || name == "int" || name == "float" || name == "dict" || name == "repr";
  }
};

[[noreturn]] void refuse(const JsonObject& object) {
  throw Error(ErrorCode::invalid_request, fmt::format("no value for a board is {}", to_text(object)));
}

Value from_pairs(const JsonObject& object, const Json& pairs) {
  Dict dict;
  if (!pairs.is_array()) refuse(object);
  for (const Json& pair : pairs.get_array()) {
    if (!pair.is_array() || pair.get_array().size() != 2) refuse(object);
    dict.items.push_back({from_json(pair.get_array()[0]), from_json(pair.get_array()[1])});
  }
  return {std::move(dict)};
}

Value from_special(const JsonObject& object) {
  const std::string_view name = object.begin()->key();
  const Json& content = object.begin()->value();
  if (name == "dict") return from_pairs(object, content);
  if (!content.is_string()) refuse(object);
  const std::string_view text = content.get_string();
  if (name == "repr") return {Opaque{std::string(text)}};
  if (name == "bytes") {
    auto data = from_base64(text);
    if (!data) refuse(object);
    return {Bytes{std::move(*data)}};
  }
  // What repr() writes as a number is one.
  Value number = parse_repr(text);
  const bool fits = name == "float" ? std::holds_alternative<double>(number.is)
                                    : std::holds_alternative<std::int64_t>(number.is) ||
                                          std::holds_alternative<BigInteger>(number.is);
  if (!fits) refuse(object);
  return number;
}

}  // namespace

Value parse_repr(std::string_view text) {
  if (auto value = Reader(text).whole()) return std::move(*value);
  return {Opaque{std::string(text)}};
}

std::string to_python(const Value& value) {
  return std::visit(PythonWriter{}, value.is);
}

std::string exact_repr(const std::vector<Value>& values) {
  std::string out;
  for (const Value& value : values) {
    const auto* text = std::get_if<std::string>(&value.is);
    const bool plain = text != nullptr && std::ranges::all_of(*text, [](char c) {
                         return c >= ' ' && c <= '~' && c != '\'' && c != '"' && c != '\\';
                       });
    if (!plain && value.is.index() > Value{std::int64_t(0)}.is.index()) return {};
    out += (out.empty() ? "" : ", ") + to_python(value);
  }
  return fmt::format("({}{})", out, values.size() == 1 ? "," : "");
}

Json to_json(const Value& value) {
  return std::visit(JsonWriter{}, value.is);
}

Value from_json(const Json& json) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return {None{}};
    case boost::json::kind::bool_:
      return {json.get_bool()};
    case boost::json::kind::int64:
      return {json.get_int64()};
    case boost::json::kind::uint64:
      return parse_repr(std::to_string(json.get_uint64()));
    case boost::json::kind::double_:
      return {json.get_double()};
    case boost::json::kind::string:
      return {std::string(json.get_string())};
    case boost::json::kind::array: {
      List list;
      for (const Json& item : json.get_array()) list.items.push_back(from_json(item));
      return {std::move(list)};
    }
    case boost::json::kind::object:
      break;
  }
  if (JsonWriter::is_special(json.get_object())) return from_special(json.get_object());
  Dict dict;
  for (const auto& [key, value] : json.get_object())
    dict.items.emplace_back(Value{std::string(key)}, from_json(value));
  return {std::move(dict)};
}

}  // namespace sojourn::device
