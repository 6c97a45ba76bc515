#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/app_archive.hpp"

namespace sojourn::cli {

namespace {

constexpr std::string_view format = "sojourn app 1";
constexpr std::size_t longest_path = 1024;

[[noreturn]] void refuse(std::string_view field, std::string_view reason) {
  throw Error(ErrorCode::invalid_request, fmt::format("{}: {}: {}", packed_list, field, reason));
}

const Json& at(const JsonObject& json, std::string_view key, const std::string& where) {
  const Json* value = json.if_contains(key);
  if (value == nullptr) refuse(where + std::string(key), "is missing");
  return *value;
}

std::string text_at(const JsonObject& json, std::string_view key, const std::string& where) {
  const Json& value = at(json, key, where);
  if (!value.is_string() || value.get_string().empty()) refuse(where + std::string(key), "must be text");
  return std::string(value.get_string());
}

// Whether it names a file below a folder that packing does not leave out, in the one spelling that there is for it.
bool is_plain_path(std::string_view path) {
  if (path.empty() || path.size() > longest_path) return false;
  if (std::ranges::any_of(path, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return false;
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view name = path.substr(start, end - start);
    if (name.empty() || is_left_out(name) || name.size() > 255) return false;
    start = end + 1;
  }
  return true;
}

PackedFile read_file(const Json& value, const std::string& where) {
  if (!value.is_object()) refuse(where, "must be an object");
  const JsonObject& json = value.get_object();
  PackedFile file{.path = text_at(json, "path", where + ".")};
  if (!is_plain_path(file.path))
    refuse(where + ".path", fmt::format("\"{}\" names no file that is packed", file.path));
  const Json& bytes = at(json, "bytes", where + ".");
  if (!bytes.is_int64() || bytes.get_int64() < 0) refuse(where + ".bytes", "must be a whole number, at least 0");
  file.bytes = static_cast<std::uint64_t>(bytes.get_int64());
  file.sha256 = text_at(json, "sha256", where + ".");
  const Json& executable = at(json, "executable", where + ".");
  if (!executable.is_bool()) refuse(where + ".executable", "must be true or false");
  file.executable = executable.get_bool();
  return file;
}

// No file may stand where another has a folder.
void check_places(const std::vector<PackedFile>& files) {
  std::set<std::string_view> paths;
  for (const PackedFile& file : files) {
    if (!paths.empty() && *paths.rbegin() >= file.path) {
      refuse("files", fmt::format("\"{}\" is there twice, or out of its order", file.path));
    }
    paths.insert(file.path);
  }
  for (const PackedFile& file : files) {
    const std::string_view path = file.path;
    for (std::size_t end = path.find('/'); end != std::string_view::npos; end = path.find('/', end + 1)) {
      if (paths.contains(path.substr(0, end))) {
        refuse("files", fmt::format("\"{}\" is a file and a folder", path.substr(0, end)));
      }
    }
  }
}

}  // namespace

bool is_left_out(std::string_view name) {
  return name.starts_with('.') || name == "build" || name == "__pycache__" || name == packed_list;
}

bool is_own_archive(std::string_view path, const std::string& app) {
  const std::string leaf = std::filesystem::path(app).filename().string();
  return path.find('/') == std::string_view::npos && path.starts_with(leaf + "-") && path.ends_with(".tar");
}

std::uint64_t PackedApp::bytes() const {
  return std::accumulate(files.begin(), files.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const PackedFile& file) { return sum + file.bytes; });
}

JsonObject PackedApp::to_json() const {
  JsonArray list;
  for (const PackedFile& file : files) {
    list.push_back(JsonObject{
        {"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}, {"executable", file.executable}});
  }
  return {{"format", format}, {"name", name}, {"version", version}, {"files", std::move(list)}};
}

PackedApp PackedApp::from_json(const JsonObject& json) {
  if (text_at(json, "format", "") != format) refuse("format", fmt::format("must be \"{}\"", format));
  PackedApp packed{.name = text_at(json, "name", ""), .version = text_at(json, "version", ""), .files = {}};
  const Json& files = at(json, "files", "");
  if (!files.is_array()) refuse("files", "must be a list");
  if (files.get_array().size() > most_packed_files) {
    throw Error(ErrorCode::too_large, fmt::format("an app has at most {} files", most_packed_files));
  }
  std::uint64_t left = most_packed_bytes;
  for (const Json& value : files.get_array()) {
    packed.files.push_back(read_file(value, fmt::format("files[{}]", packed.files.size())));
    if (packed.files.back().bytes > left) {
      throw Error(ErrorCode::too_large, fmt::format("the files of an app have at most {} bytes", most_packed_bytes));
    }
    left -= packed.files.back().bytes;
  }
  check_places(packed.files);
  for (const PackedFile& file : packed.files) {
    if (is_own_archive(file.path, packed.name)) refuse("files", fmt::format("\"{}\" is an archive of it", file.path));
  }
  return packed;
}

}  // namespace sojourn::cli
