#include "sojourn/store/artifact_path.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::store {

namespace {

const char* complaint_of(std::string_view name) {
  const auto is_bad = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\'; };
  if (name.empty()) return "has an empty name";
  if (name == "." || name == "..") return "leads out of its folder";
  if (name.size() > limits::file_name_bytes) return "has a name of more than 255 bytes";
  if (name.starts_with('.')) return "has a name that begins with a dot";
  if (name.ends_with(".new")) return "has a name that ends with .new, as of files that are just being written";
  if (std::ranges::any_of(name, is_bad)) return "has a control character or a backslash";
  return is_valid_utf8(name) ? nullptr : "is no UTF-8";
}

[[noreturn]] void refuse(std::string_view path, std::string_view why) {
  throw Error(ErrorCode::invalid_request,
              fmt::format("the artefact path '{}' {}", to_valid_utf8(path.substr(0, 300)), why), {{"field", "path"}});
}

}  // namespace

std::vector<std::string> split_artifact_path(std::string_view path) {
  if (path.size() > limits::artifact_path_bytes) {
    refuse(path, fmt::format("has more than {} bytes", limits::artifact_path_bytes));
  }
  std::vector<std::string> names;
  for (std::string_view rest = path;;) {
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string_view name = rest.substr(0, end);
    if (const char* complaint = complaint_of(name)) refuse(path, complaint);
    names.emplace_back(name);
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  if (names.size() > limits::artifact_path_depth) {
    refuse(path, fmt::format("is deeper than {} names", limits::artifact_path_depth));
  }
  if (folded(path) == "session_metadata.json") refuse(path, "is the server's own");
  return names;
}

std::string folded(std::string_view path) {
  std::string text(path);
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

}  // namespace sojourn::store
