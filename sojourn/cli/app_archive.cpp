#include "sojourn/cli/app_archive.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <span>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/cli/whole_file.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/tar.hpp"
#include "sojourn/worker/manifest.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;
namespace tar = store::tar;

constexpr std::size_t piece_bytes = 256 * 1024;
constexpr std::size_t most_list_bytes = 8 * 1024 * 1024;

Descriptor open_plain(const fs::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat found{};
  if (!file || ::fstat(file.get(), &found) != 0) throw io_error(path.string(), errno);
  if (!S_ISREG(found.st_mode)) throw Error(ErrorCode::invalid_request, path.string() + " is no plain file");
  return file;
}

std::size_t read_some(const Descriptor& file, const fs::path& path, std::span<char> buffer) {
  const std::optional<std::size_t> got = read_up_to(file.get(), buffer);
  if (!got) throw io_error(path.string(), errno);
  return *got;
}

using Sink = std::function<void(std::string_view)>;

// What a file is now; its content goes to `sink` too.
PackedFile read_through(const fs::path& folder, const std::string& path, const Sink& sink) {
  const fs::path place = folder / path;
  const Descriptor file = open_plain(place);
  struct stat found{};
  ::fstat(file.get(), &found);
  PackedFile packed{.path = path, .executable = (found.st_mode & S_IXUSR) != 0};
  Hasher hasher;
  std::string buffer(piece_bytes, '\0');
  while (const std::size_t got = read_some(file, place, buffer)) {
    const std::string_view piece(buffer.data(), got);
    hasher.add(piece);
    packed.bytes += got;
    if (sink) sink(piece);
  }
  packed.sha256 = to_hex(hasher.finish());
  return packed;
}

// What of an app goes into an archive, in its order.
std::vector<std::string> packable(const fs::path& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (is_left_out(entry->path().filename().string())) {
      entry.disable_recursion_pending();
      continue;
    }
    const std::string path = entry->path().lexically_relative(folder).generic_string();
    const fs::file_type type = entry->symlink_status(error).type();
    if (type == fs::file_type::directory) continue;
    if (type != fs::file_type::regular) {
      throw Error(ErrorCode::invalid_request,
                  fmt::format("{} is a link or no plain file, which is not packed", path));
    }
    paths.push_back(path);
  }
  if (error) throw io_error(folder.string(), error.value());
  std::ranges::sort(paths);
  return paths;
}

void make_parents(const fs::path& folder, const std::string& path) {
  std::error_code error;
  fs::create_directories((folder / path).parent_path(), error);
  if (error) throw io_error((folder / path).parent_path().string(), error.value());
}

void unpack_file(tar::Reader& reader, const PackedFile& file, const fs::path& folder) {
  make_parents(folder, file.path);
  const fs::path place = folder / file.path;
  const Descriptor made(
      ::open(place.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file.executable ? 0755 : 0644));
  if (!made) throw io_error(place.string(), errno);
  Hasher hasher;
  for (std::string piece = reader.read(piece_bytes); !piece.empty(); piece = reader.read(piece_bytes)) {
    hasher.add(piece);
    if (write_all(made.get(), piece) < piece.size()) throw io_error(place.string(), errno);
  }
  if (to_hex(hasher.finish()) != file.sha256) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("{} was altered: it has another hash than is listed", file.path));
  }
}

PackedApp read_archive(tar::Reader& reader, const fs::path& folder) {
  const auto list = reader.next();
  if (!list || list->name != packed_list) {
    throw Error(ErrorCode::invalid_request, fmt::format("it does not begin with {}", packed_list));
  }
  if (list->size > most_list_bytes) throw Error(ErrorCode::too_large, "its list of files is too large");
  const std::string text = reader.read(list->size);
  PackedApp packed = PackedApp::from_json(parse_json_object(text));
  if (to_text(packed.to_json()) != text) throw Error(ErrorCode::invalid_request, "its list is in another spelling");
  store::replace_file(folder / packed_list, text);
  for (const PackedFile& file : packed.files) {
    const auto member = reader.next();
    if (!member || member->name != file.path || member->size != file.bytes) {
      throw Error(ErrorCode::invalid_request, fmt::format("{} is not where it is listed", file.path));
    }
    unpack_file(reader, file, folder);
  }
  if (reader.next()) throw Error(ErrorCode::invalid_request, "it holds more than is listed");
  return packed;
}

}  // namespace

PackedApp pack_app(const fs::path& folder, const fs::path& file) {
  const worker::Manifest manifest = worker::read_manifest(folder);
  PackedApp packed{.name = manifest.info.name, .version = manifest.info.version, .files = {}};
  for (const std::string& path : packable(folder)) {
    if (is_own_archive(path, manifest.info.name)) continue;
    if (to_valid_utf8(path) != path) throw Error(ErrorCode::invalid_request, to_valid_utf8(path) + " is no UTF-8");
    packed.files.push_back(read_through(folder, path, {}));
  }
  const std::string list = to_text(packed.to_json());
  PackedApp::from_json(parse_json_object(list));  // it must be one that can be unpacked
  WholeFile archive(file);
  archive.write(tar::head(packed_list, list.size()) + list + tar::padding(list.size()));
  for (const PackedFile& listed : packed.files) {
    archive.write(tar::head(listed.path, listed.bytes));
    std::uint64_t written = 0;
    const PackedFile now = read_through(folder, listed.path, [&](std::string_view piece) {
      written += piece.size();
      if (written <= listed.bytes) archive.write(piece);
    });
    if (now.bytes != listed.bytes || now.sha256 != listed.sha256) {
      throw Error(ErrorCode::invalid_request, listed.path + " changed while it was packed");
    }
    archive.write(tar::padding(listed.bytes));
  }
  archive.write(tar::end());
  archive.commit();
  return packed;
}

PackedApp unpack_app(const fs::path& archive, const fs::path& folder) {
  if (archive.filename() == "app.toml") {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'{}' is no archive: name the folder that holds it", archive.string()));
  }
  const Descriptor file = open_plain(archive);
  tar::Reader reader([&](char* buffer, std::size_t size) { return read_some(file, archive, {buffer, size}); });
  try {
    PackedApp packed = read_archive(reader, folder);
    const worker::Manifest manifest = worker::read_manifest(folder);
    if (manifest.info.name != packed.name || manifest.info.version != packed.version) {
      throw Error(ErrorCode::invalid_request,
                  fmt::format("its app.toml is that of {} {}, its list that of {} {}", manifest.info.name,
                              manifest.info.version, packed.name, packed.version));
    }
    return packed;
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", archive.string(), error.message()), error.details());
  }
}

std::optional<PackedApp> find_packed(const fs::path& folder) {
  const auto text = store::read_small_file(folder / packed_list, most_list_bytes);
  if (!text) return std::nullopt;
  return PackedApp::from_json(parse_json_object(*text));
}

std::vector<std::string> differences(const fs::path& folder, const PackedApp& packed) {
  std::vector<std::string> wrong;
  const std::vector<std::string> there = packable(folder);
  for (const PackedFile& file : packed.files) {
    if (!std::ranges::binary_search(there, file.path)) {
      wrong.push_back(file.path + " is missing");
      continue;
    }
    const PackedFile now = read_through(folder, file.path, {});
    if (now.sha256 != file.sha256 || now.executable != file.executable) wrong.push_back(file.path + " was changed");
  }
  for (const std::string& path : there) {
    if (!std::ranges::binary_search(packed.files, path, {}, &PackedFile::path)) {
      wrong.push_back(to_valid_utf8(path) + " was added");
    }
  }
  return wrong;
}

AppFolder::AppFolder(const fs::path& app) : path_(app) {
  std::error_code ignored;  // what is not there is told by who reads it
  if (!fs::is_regular_file(app, ignored)) return;
  path_ = unpacked_.emplace().path();
  unpack_app(app, path_);
}

}  // namespace sojourn::cli
