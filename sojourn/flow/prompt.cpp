#include "sojourn/flow/prompt.hpp"

namespace sojourn::flow {

namespace {

// A stretch of text, or what stands between two braces.
struct Piece {
  std::string text;
  bool is_field = false;
};

// Nothing for a template whose braces do not match.
std::optional<std::vector<Piece>> split(std::string_view text) {
  std::vector<Piece> pieces;
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      plain += c;
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      plain += c;
      ++i;
    } else if (c == '}') {
      return std::nullopt;
    } else {
      // Up to the brace that closes this one; a format may hold fields of its own.
      std::size_t end = i + 1;
      for (int open = 1;; ++end) {
        if (end == text.size()) return std::nullopt;
        if (text[end] == '{') ++open;
        if (text[end] == '}' && --open == 0) break;
      }
      pieces.push_back({std::exchange(plain, {})});
      pieces.push_back({std::string(text.substr(i + 1, end - i - 1)), true});
      i = end;
    }
  }
  pieces.push_back({std::move(plain)});
  return pieces;
}

// The name of a field and what follows it, in the grammar of Python's format strings.
struct Field {
  std::string_view name;
  bool is_bare = false;  // nothing but a name
  bool is_valid = true;
};

Field parse(std::string_view field) {
  // Within brackets an exclamation mark or a colon is part of the name.
  std::size_t end = 0;
  for (bool in_brackets = false; end < field.size(); ++end) {
    const char c = field[end];
    if (c == '[') in_brackets = true;
    if (c == ']') in_brackets = false;
    if (c == '{' && !in_brackets) return {.is_valid = false};
    if ((c == '!' || c == ':') && !in_brackets) break;
  }
  const std::string_view name = field.substr(0, end);
  const std::string_view rest = field.substr(end);
  if (rest.starts_with('!') && (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))) return {.is_valid = false};
  const bool is_name = !name.empty() && name.find_first_of(".[") == std::string_view::npos;
  return {.name = name, .is_bare = is_name && (rest.empty() || rest == ":")};
}

std::string text_of(const Json& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_null()) return "None";
  if (value.is_bool()) return value.get_bool() ? "True" : "False";
  return to_text(value);
}

}  // namespace

std::string fill_template(std::string_view text, const Lookup& lookup) {
  const auto pieces = split(text);
  if (!pieces) return std::string(text);
  std::string filled;
  for (const Piece& piece : *pieces) {
    if (!piece.is_field) {
      filled += piece.text;
      continue;
    }
    const Field field = parse(piece.text);
    if (!field.is_valid) return std::string(text);
    const std::optional<Json> value = field.is_bare ? lookup(field.name) : std::nullopt;
    filled += value ? text_of(*value) : "{" + piece.text + "}";
  }
  return filled;
}

std::string fill_template(std::string_view text, const Context& context) {
  return fill_template(text, [&context](std::string_view key) { return context.find(key); });
}

std::vector<std::string> odd_fields(std::string_view text) {
  std::vector<std::string> odd;
  for (const Piece& piece : split(text).value_or(std::vector<Piece>())) {
    if (!piece.is_field) continue;
    const Field field = parse(piece.text);
    if (!field.is_valid) return {};
    if (!field.is_bare) odd.push_back("{" + piece.text + "}");
  }
  return odd;
}

std::string escape_braces(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    escaped += c;
    if (c == '{' || c == '}') escaped += c;
  }
  return escaped;
}

}  // namespace sojourn::flow
