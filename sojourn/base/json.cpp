#include "sojourn/base/json.hpp"

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <vector>

#include "sojourn/base/error.hpp"

namespace sojourn {

namespace {

namespace json = boost::json;

// Appends one step of a JSON pointer (RFC 6901).
void append_pointer_step(std::string& pointer, std::string_view key) {
  pointer += '/';
  for (const char c : key) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
}

// Builds a value from the parser's events, and knows at each moment where in the text it is.
class Builder {
 public:
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return open(JsonObject()); }
  bool on_object_end(std::size_t, json::error_code&) { return close(); }
  bool on_array_begin(json::error_code&) { return open(JsonArray()); }
  bool on_array_end(std::size_t, json::error_code&) { return close(); }

  bool on_key_part(std::string_view part, std::size_t, json::error_code&) {
    partial_ += part;
    return true;
  }
  bool on_key(std::string_view rest, std::size_t, json::error_code& error) {
    Frame& frame = frames_.back();
    frame.key.assign(partial_).append(rest);
    frame.at_key = true;
    partial_.clear();
    if (frame.value.get_object().contains(frame.key)) return refuse("is a duplicate key", error);
    return true;
  }
  bool on_string_part(std::string_view part, std::size_t, json::error_code&) {
    partial_ += part;
    return true;
  }
  bool on_string(std::string_view rest, std::size_t, json::error_code&) {
    if (partial_.empty()) return put(Json(rest));
    partial_ += rest;
    Json value(partial_);
    partial_.clear();
    return put(std::move(value));
  }
  bool on_number_part(std::string_view part, json::error_code&) {
    partial_ += part;
    return true;
  }
  bool on_int64(std::int64_t value, std::string_view, json::error_code&) { return put_number(Json(value)); }
  bool on_uint64(std::uint64_t value, std::string_view, json::error_code&) { return put_number(Json(value)); }
  bool on_double(double value, std::string_view rest, json::error_code& error) {
    partial_ += rest;
    // The parser turns a long integer into the nearest double, which is another number.
    if (partial_.find_first_of(".eE") == std::string::npos) return refuse("is an integer past 64 bits", error);
    if (!std::isfinite(value)) return refuse("is a number past the range of a double", error);
    // The parser's own double may be off in its last digits; what is too small to hold stays what it made of it.
    const char* const end = partial_.data() + partial_.size();
    double nearest = 0;
    if (std::from_chars(partial_.data(), end, nearest).ec == std::errc()) value = nearest;
    return put_number(Json(value));
  }
  bool on_bool(bool value, json::error_code&) { return put(Json(value)); }
  bool on_null(json::error_code&) { return put(Json(nullptr)); }
  bool on_comment_part(std::string_view, json::error_code&) { return true; }
  bool on_comment(std::string_view, json::error_code&) { return true; }

  Json take() { return std::move(root_); }
  const std::string& complaint() const { return complaint_; }

  std::string pointer() const {
    std::string pointer;
    for (const Frame& frame : frames_) {
      if (frame.value.is_object()) {
        if (frame.at_key) append_pointer_step(pointer, frame.key);
      } else {
        append_pointer_step(pointer, std::to_string(frame.value.get_array().size()));
      }
    }
    return pointer;
  }

 private:
  struct Frame {
    Json value;
    std::string key;
    bool at_key = false;  // `key` was read and its value not yet
  };

  bool open(Json container) {
    frames_.push_back({std::move(container), {}, false});
    return true;
  }
  bool close() {
    Json value = std::move(frames_.back().value);
    frames_.pop_back();
    return put(std::move(value));
  }
  bool put(Json value) {
    if (frames_.empty()) {
      root_ = std::move(value);
    } else if (Frame& frame = frames_.back(); frame.value.is_array()) {
      frame.value.get_array().push_back(std::move(value));
    } else {
      frame.value.get_object().emplace(frame.key, std::move(value));
      frame.at_key = false;
    }
    return true;
  }
  bool put_number(Json value) {
    partial_.clear();
    return put(std::move(value));
  }
  bool refuse(std::string complaint, json::error_code& error) {
    complaint_ = std::move(complaint);
    error = json::error::syntax;
    return false;
  }

  Json root_;
  std::vector<Frame> frames_;
  std::string partial_;  // of a token that the parser hands over in pieces
  std::string complaint_;
};

std::string describe(json::error error, JsonLimits limits) {
  switch (error) {
    case json::error::incomplete:
      return "ends too early";
    case json::error::extra_data:
      return "is followed by more text";
    case json::error::too_deep:
      return "is nested deeper than " + std::to_string(limits.depth) + " levels";
    case json::error::illegal_leading_surrogate:
    case json::error::illegal_trailing_surrogate:
    case json::error::expected_utf16_escape:
      return "holds half a surrogate pair";
    default:
      return "is no valid JSON (" + json::make_error_code(error).message() + ")";
  }
}

// Length of the valid UTF-8 sequence at the start of `text`, or 0. Follows table 3-7 of the Unicode standard.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;
    return byte(1) >= low && byte(1) <= high && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

class Writer {
 public:
  Writer(std::string& out, JsonLimits limits) : out_(out), limits_(limits), start_(out.size()) {}

  void write(const Json& value) {
    switch (value.kind()) {
      case json::kind::null:
        out_ += "null";
        break;
      case json::kind::bool_:
        out_ += value.get_bool() ? "true" : "false";
        break;
      case json::kind::int64:
        number(value.get_int64());
        break;
      case json::kind::uint64:
        number(value.get_uint64());
        break;
      case json::kind::double_:
        real(value.get_double());
        break;
      case json::kind::string:
        string(value.get_string());
        break;
      case json::kind::array:
        array(value.get_array());
        break;
      case json::kind::object:
        object(value.get_object());
        break;
    }
    if (out_.size() - start_ > limits_.bytes) {
      throw Error(ErrorCode::too_large, "the JSON text is larger than " + std::to_string(limits_.bytes) + " bytes",
                  {{"pointer", pointer()}});
    }
  }

  void object(const JsonObject& object) {
    enter();
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : object) {
      if (!first) out_ += ',';
      first = false;
      steps_.back().key = key;
      string(key);
      out_ += ':';
      write(value);
    }
    out_ += '}';
    steps_.pop_back();
  }

 private:
  struct Step {
    std::optional<std::string_view> key;
    std::size_t index = 0;
  };

  void array(const JsonArray& array) {
    enter();
    out_ += '[';
    for (std::size_t i = 0; i < array.size(); ++i) {
      if (i > 0) out_ += ',';
      steps_.back().index = i;
      write(array[i]);
    }
    out_ += ']';
    steps_.pop_back();
  }

  void enter() {
    if (steps_.size() >= limits_.depth) {
      refuse("is nested deeper than " + std::to_string(limits_.depth) + " levels");
    }
    steps_.emplace_back();
  }

  template <class Integer>
  void number(Integer value) {
    std::array<char, 24> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    out_.append(buffer.data(), end);
  }

  void real(double value) {
    if (!std::isfinite(value)) refuse("is not a finite number");
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    out_ += text;
    if (text.find_first_of(".e") == std::string_view::npos) out_ += ".0";
  }

  void string(std::string_view text) {
    try {
      append_json_string(out_, text);
    } catch (const Error&) {
      refuse("is no valid UTF-8");
    }
  }

  [[noreturn]] void refuse(const std::string& complaint) const {
    const std::string where = to_valid_utf8(pointer());
    throw Error(ErrorCode::not_serializable,
                (where.empty() ? "the value " : "the value at \"" + where + "\" ") + complaint, {{"pointer", where}});
  }

  std::string pointer() const {
    std::string pointer;
    for (const Step& step : steps_) {
      append_pointer_step(pointer, step.key ? std::string(*step.key) : std::to_string(step.index));
    }
    return pointer;
  }

  std::string& out_;
  JsonLimits limits_;
  std::size_t start_;
  std::vector<Step> steps_;
};

}  // namespace

Json parse_json(std::string_view text, JsonLimits limits) {
  if (text.size() > limits.bytes) {
    throw Error(ErrorCode::too_large, "the JSON text is larger than " + std::to_string(limits.bytes) + " bytes");
  }
  json::parse_options options;
  options.max_depth = limits.depth;
  json::basic_parser<Builder> parser(options);
  json::error_code error;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!error && used < text.size()) error = json::error::extra_data;
  if (error) {
    Builder& builder = parser.handler();
    const std::string pointer = to_valid_utf8(builder.pointer());
    const bool root = pointer.empty();
    std::string message = root ? "the JSON text " : "the JSON value at \"" + pointer + "\" ";
    if (!is_valid_utf8(text)) {
      message += "is no valid UTF-8";
    } else {
      message += builder.complaint().empty() ? describe(static_cast<json::error>(error.value()), limits)
                                             : builder.complaint();
    }
    throw Error(ErrorCode::invalid_json, std::move(message), {{"pointer", pointer}, {"offset", used}});
  }
  return parser.handler().take();
}

JsonObject parse_json_object(std::string_view text, JsonLimits limits) {
  Json value = parse_json(text, limits);
  if (!value.is_object()) {
    throw Error(ErrorCode::invalid_json, "the JSON text is no object", {{"pointer", ""}, {"offset", 0}});
  }
  return std::move(value.get_object());
}

void append_json(std::string& out, const Json& value, JsonLimits limits) {
  Writer(out, limits).write(value);
}

void append_json(std::string& out, const JsonObject& value, JsonLimits limits) {
  Writer(out, limits).object(value);
}

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  static constexpr std::array<bool, 256> is_plain = [] {
    std::array<bool, 256> plain{};
    for (std::size_t c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\';
    return plain;
  }();
  out += '"';
  std::size_t plain = 0;  // start of the run that needs no change
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (is_plain[c]) {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      const std::size_t length = utf8_sequence(text.substr(i));
      if (length == 0) throw Error(ErrorCode::not_serializable, "the string is no valid UTF-8");
      i += length;
      continue;
    }
    out.append(text, plain, i - plain);
    plain = ++i;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += digits[c >> 4];
        out += digits[c & 15];
    }
  }
  out.append(text, plain);
  out += '"';
}

std::string to_text(const Json& value, JsonLimits limits) {
  std::string text;
  append_json(text, value, limits);
  return text;
}

std::string to_text(const JsonObject& value, JsonLimits limits) {
  std::string text;
  append_json(text, value, limits);
  return text;
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) {
      valid += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else {
      valid.append(text, 0, length);
      text.remove_prefix(length);
    }
  }
  return valid;
}

}  // namespace sojourn
