#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ostream>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/cli/app_archive.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/worker/manifest.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

// "inspection/bolt" is packed, and unpacked, as "bolt".
std::string leaf_of(const std::string& name) {
  return fs::path(name).filename().string();
}

std::string default_archive(const worker::Manifest& manifest) {
  std::string version = manifest.info.version;
  std::ranges::replace_if(
      version, [](char c) { return !(std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_'); }, '-');
  return fmt::format("{}-{}.tar", leaf_of(manifest.info.name), version);
}

void print_packed(const PackedApp& packed, std::string_view key, const fs::path& place, Console& console) {
  if (console.json) {
    print_json(console, JsonObject{{"name", packed.name},
                                   {"version", packed.version},
                                   {key, to_valid_utf8(place.string())},
                                   {"files", packed.files.size()},
                                   {"bytes", packed.bytes()}});
  } else {
    console.out << fmt::format("{}  {} {}, {} files, {} bytes\n", printable(place.string()), packed.name,
                               printable(packed.version), packed.files.size(), packed.bytes());
  }
}

// Gives what was unpacked its place, whole and at once. What was there before is in `fresh` then.
void install(const fs::path& fresh, const fs::path& place, bool replace) {
  // All of it on the disk before its name is.
  const Descriptor folder(::open(fresh.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::syncfs(folder.get()) != 0) throw io_error(fresh.string(), errno);
  const auto rename = [&](unsigned flags) {
    return ::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, place.c_str(), flags) == 0;
  };
  bool done = rename(RENAME_NOREPLACE);
  if (!done && errno == EEXIST) {
    if (!replace) {
      throw Error(ErrorCode::already_exists,
                  fmt::format("{} is there already; --replace puts this in its place", place.string()));
    }
    done = rename(RENAME_EXCHANGE);
  }
  if (!done) throw io_error(place.string(), errno);
  store::sync_folder(place.parent_path());
}

}  // namespace

ExitCode pack(const PackOptions& options, const Settings&, Console& console) {
  const worker::Manifest manifest = worker::read_manifest(options.folder);
  const fs::path file = options.output.empty() ? default_archive(manifest) : options.output;
  print_packed(pack_app(manifest.folder, file), "file", file, console);
  return ExitCode::ok;
}

ExitCode unpack(const UnpackOptions& options, const Settings&, Console& console) {
  const fs::path apps = fs::absolute(options.into).lexically_normal();
  if (std::error_code error; !fs::is_directory(apps, error)) {
    throw Error(ErrorCode::config_invalid, fmt::format("--into: {} is no folder", apps.string()));
  }
  // Beside its place, so that it can be moved there; hidden, and a level deeper, so that no server takes it for an
  // app.
  const ScratchFolder scratch(apps, ".unpacking-");
  const fs::path fresh = scratch.path() / "app";
  if (std::error_code error; !fs::create_directory(fresh, error)) throw io_error(fresh.string(), error.value());
  const PackedApp packed = unpack_app(options.archive, fresh);
  const fs::path place = apps / leaf_of(packed.name);
  install(fresh, place, options.replace);
  print_packed(packed, "folder", place, console);
  return ExitCode::ok;
}

}  // namespace sojourn::cli
