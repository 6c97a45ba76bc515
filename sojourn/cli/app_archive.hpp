#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/cli/scratch_folder.hpp"

// An app as one file, docs/formats/app-archive.md: a list of its files with their hashes, then the files.
namespace sojourn::cli {

// The list's name in the archive, and in the folder that it was unpacked to.
inline constexpr std::string_view packed_list = "sojourn-app.json";

inline constexpr std::size_t most_packed_files = 10'000;
inline constexpr std::uint64_t most_packed_bytes = std::uint64_t{4} << 30;  // of all files

struct PackedFile {
  std::string path;  // below the app's folder, with '/'
  std::uint64_t bytes = 0;
  std::string sha256;  // in hex digits
  bool executable = false;
};

struct PackedApp {
  std::string name, version;
  std::vector<PackedFile> files;  // in the order of their paths

  std::uint64_t bytes() const;
  JsonObject to_json() const;

  // Errors: invalid_request, which names the field, for what no archive of an app may say; too_large.
  static PackedApp from_json(const JsonObject& json);
};

// Whether packing leaves out what has this name, in whichever folder.
bool is_left_out(std::string_view name);

// Whether `path` is an archive beside app.toml that packing this app made before, which is left out too.
bool is_own_archive(std::string_view path, const std::string& app);

// Packs the folder of an app into `file`, which is there whole or not at all. Hidden files, `build`, `__pycache__`
// and what was packed before are left out. Durable: when it returns. Errors: manifest_invalid; invalid_request for a
// link, a name that is no text, and a file that changes meanwhile;
//         too_large; io_error.
PackedApp pack_app(const std::filesystem::path& folder, const std::filesystem::path& file);

// Unpacks an archive into `folder`, which is there and empty; with its list.
// Errors: invalid_request for what is not as pack_app() writes it, too_large, io_error; some files may be there then,
//         none of them outside `folder`.
PackedApp unpack_app(const std::filesystem::path& archive, const std::filesystem::path& folder);

// The list in the folder of an app; nothing where it was not unpacked. Errors: those of from_json(), io_error.
std::optional<PackedApp> find_packed(const std::filesystem::path& folder);

// What is not as it was packed, one sentence for each file. Errors: io_error.
std::vector<std::string> differences(const std::filesystem::path& folder, const PackedApp& packed);

// The folder of an app that is given as a folder or as an archive; that is unpacked for as long as this lives.
// Errors of the constructor: those of unpack_app().
class AppFolder {
 public:
  explicit AppFolder(const std::filesystem::path& app);

  const std::filesystem::path& path() const { return path_; }

 private:
  std::optional<ScratchFolder> unpacked_;
  std::filesystem::path path_;
};

}  // namespace sojourn::cli
