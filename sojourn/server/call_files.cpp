#include "sojourn/server/call_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::server {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t copy_bytes = 512 * limits::kibibyte;

Error no_file(std::string_view id) {
  return Error(ErrorCode::not_found, fmt::format("there is no file {}", to_valid_utf8(id.substr(0, 64))));
}

void drop_prefix(std::string_view& text, std::string_view prefix) {
  if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
}

// Hands each value within `json` to `visit`, which returns whether to look into it.
void walk(Json& json, const std::function<bool(Json&)>& visit) {
  if (!visit(json)) return;
  if (json.is_array()) {
    for (Json& item : json.get_array()) walk(item, visit);
  } else if (json.is_object()) {
    for (auto& member : json.get_object()) walk(member.value(), visit);
  }
}

std::optional<std::string> file_named_by(const Json& json) {
  return json.is_string() ? file_id_of(json.get_string()) : std::nullopt;
}

void copy(const OpenFile& from, const std::function<void(std::string_view)>& write) {
  std::uint64_t offset = 0;
  for (;;) {
    const std::string piece = from.read(offset, copy_bytes);
    if (piece.empty()) return;
    write(piece);
    offset += piece.size();
  }
}

// Puts a copy into the folder `files` of a session, as ID/NAME.
void put_copy(const OpenFile& files, const FileInfo& info, const OpenFile& content) {
  const std::string unfinished = info.id + ".new";
  files.remove_all(unfinished);
  {
    const OpenFile folder = files.folder(unfinished);
    const OpenFile out = folder.new_file(info.name);
    copy(content, [&](std::string_view bytes) { out.write(bytes); });
    out.sync();
    folder.sync();
  }
  if (files.rename(unfinished, info.id)) return;
  files.remove_all(info.id);  // what its worker made of it
  files.rename(unfinished, info.id);
}

bool has_copy(const OpenFile& files, const FileInfo& info) {
  try {
    const OpenFile copy = files.open(info.id, O_RDONLY | O_DIRECTORY).open(info.name, O_RDONLY);
    return copy.is_plain() && copy.size() == info.size;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found || error.code() == ErrorCode::invalid_request) return false;
    throw;
  }
}

Error bad_path(std::string_view path, std::string_view why) {
  return Error(ErrorCode::invalid_request,
               fmt::format("the output names the file '{}', which {}", to_valid_utf8(path.substr(0, 256)), why));
}

// Opens the file at `path` below `folder`, step by step, since a name checked before may be a link by now.
OpenFile open_within(const std::string& folder, std::string path) {
  if (path.starts_with(folder + "/")) path.erase(0, folder.size() + 1);
  if (path.empty() || path.starts_with('/')) throw bad_path(path, "is not in the session's folder");
  if (path.find('\0') != std::string::npos) throw bad_path(path, "has a NUL in its name");
  std::vector<std::string> names;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    if (name == "..") throw bad_path(path, "is not in the session's folder");
    if (name.size() > limits::file_name_bytes) throw bad_path(path, "has a name that is too long");
    if (!name.empty() && name != ".") names.push_back(name);
    at = end + 1;
  }
  if (names.empty()) throw bad_path(path, "is no file");
  OpenFile file = OpenFile::at(folder, O_RDONLY | O_DIRECTORY);
  for (std::size_t i = 0; i + 1 < names.size(); ++i) file = file.open(names[i], O_RDONLY | O_DIRECTORY);
  return file.open(names.back(), O_RDONLY);
}

std::string text_or(const JsonObject& object, std::string_view field, std::string_view fallback) {
  const Json* const value = object.if_contains(field);
  return std::string(value != nullptr && value->is_string() ? std::string_view(value->get_string()) : fallback);
}

// The object under "file" that says where a file is, or null.
JsonObject* handed_out(Json& json) {
  Json* const file = json.is_object() ? json.get_object().if_contains("file") : nullptr;
  if (file == nullptr || !file->is_object()) return nullptr;
  const Json* const path = file->get_object().if_contains("path");
  return path != nullptr && path->is_string() ? &file->get_object() : nullptr;
}

}  // namespace

std::optional<std::string> file_id_of(std::string_view uri) {
  if (uri.starts_with("http://") || uri.starts_with("https://")) {
    const std::size_t slash = uri.find('/', uri.find("://") + 3);
    if (slash == std::string_view::npos) return std::nullopt;
    uri.remove_prefix(slash);
  }
  drop_prefix(uri, "/v1");
  if (!uri.starts_with("/files/")) return std::nullopt;
  uri.remove_prefix(std::string_view("/files/").size());
  return is_file_id(uri) ? std::optional(std::string(uri)) : std::nullopt;
}

std::set<std::string> files_in(const Json& input) {
  std::set<std::string> ids;
  // It only looks.
  walk(const_cast<Json&>(input), [&](Json& json) {
    if (auto id = file_named_by(json)) ids.insert(std::move(*id));
    return true;
  });
  if (ids.size() > limits::files_per_request) {
    throw Error(ErrorCode::invalid_request, fmt::format("an input names at most {} files", limits::files_per_request),
                {{"field", "input"}});
  }
  return ids;
}

bool may_use(const FileInfo& file, const Caller& caller) {
  return file.owner == caller.name || caller.scopes.allow(Scope::admin);
}

Async<FileInfo> CallFiles::find(std::string id, Caller caller) {
  std::optional<FileInfo> file;
  if (is_file_id(id)) file = co_await blocking_.run([&] { return store_.find(id); });
  if (!file || !may_use(*file, caller)) throw no_file(id);
  co_return std::move(*file);
}

Async<Json> CallFiles::bring(Json input, std::string folder) {
  const std::set<std::string> ids = files_in(input);
  const auto placed = co_await blocking_.run([&] {
    std::map<std::string, JsonObject> places;
    for (const std::string& id : ids) places.emplace(id, place(id, folder));
    return places;
  });
  walk(input, [&](Json& json) {
    if (const auto id = file_named_by(json)) {
      JsonObject file{{"uri", json}};
      for (const auto& [field, value] : placed.at(*id)) file[field] = value;
      json = std::move(file);
      return false;
    }
    Json* const uri = json.is_object() ? json.get_object().if_contains("uri") : nullptr;
    if (uri == nullptr) return true;
    if (const auto id = file_named_by(*uri)) {
      for (const auto& [field, value] : placed.at(*id)) json.get_object()[field] = value;
      return false;
    }
    return true;
  });
  co_return input;
}

JsonObject CallFiles::place(const std::string& id, const std::string& folder) const {
  const std::optional<FileInfo> info = store_.find(id);
  if (!info) throw no_file(id);
  store_.note_use(id, clock_.now());
  const OpenFile files = OpenFile::at(folder, O_RDONLY | O_DIRECTORY).folder("files");
  if (!has_copy(files, *info)) put_copy(files, *info, store_.content(id));
  return {{"path", (files.path() / id / info->name).string()},
          {"filename", info->name},
          {"content_type", info->content_type},
          {"size", info->size}};
}

Async<Json> CallFiles::keep(Json output, runtime::OutputPlace place) {
  std::set<JsonObject*> named;
  walk(output, [&](Json& json) {
    if (json.is_object() && named.contains(&json.get_object())) return false;  // it will be another
    if (JsonObject* const file = handed_out(json)) named.insert(file);
    return true;
  });
  if (named.size() > limits::files_per_request) {
    throw Error(ErrorCode::too_large, fmt::format("an output names at most {} files", limits::files_per_request));
  }
  co_await blocking_.run([&] {
    for (JsonObject* const file : named) {
      const FileInfo kept = keep_one(*file, place);
      *file = {{"uri", "/files/" + kept.id},
               {"filename", kept.name},
               {"content_type", kept.content_type},
               {"size", kept.size},
               {"sha256", kept.sha256}};
    }
  });
  co_return output;
}

FileInfo CallFiles::keep_one(const JsonObject& file, const runtime::OutputPlace& place) const {
  const std::string path = text_or(file, "path", "");
  const OpenFile content = open_within(place.folder, path);
  if (!content.is_plain()) throw bad_path(path, "is no plain file of its own");
  const auto too_large = [&](std::uint64_t size) {
    return Error(ErrorCode::too_large,
                 fmt::format("the file '{}' has {} bytes, and {} are the most", path, size, limits::file_bytes));
  };
  if (content.size() > limits::file_bytes) throw too_large(content.size());
  const std::string name = text_or(file, "filename", content.path().filename().string());
  const std::string content_type = text_or(file, "content_type", "application/octet-stream");
  check_file_name(name);
  check_content_type(content_type);
  FileStore::Incoming incoming(store_, new_file_id(random_));
  copy(content, [&](std::string_view bytes) {
    incoming.write(bytes);
    if (incoming.size() > limits::file_bytes) throw too_large(incoming.size());  // it still grows
  });
  return incoming.commit({.name = name,
                          .content_type = content_type,
                          .owner = place.actor,
                          .session = place.session_id,
                          .created_at = clock_.now()});
}

}  // namespace sojourn::server
