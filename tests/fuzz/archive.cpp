// Archives of apps: whatever one holds, it is unpacked below its folder as packing wrote it, byte for byte, or
// refused.

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>

#include "as_file.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/cli/app_archive.hpp"
#include "sojourn/store/tar.hpp"

namespace {

using namespace sojourn;
namespace fs = std::filesystem;
namespace tar = store::tar;

// An archive whose hashes and sizes fit, so that what they hide is reached: of an app.toml and of the files that
// `text` names, as NAME NUL CONTENT NUL. "" where no archive can name them.
std::string archive_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> files{{"app.toml", "name = \"x\"\ncommand = [\"x\"]\n"}};
  while (!text.empty()) {
    const auto take = [&] {
      const std::string_view part = text.substr(0, text.find('\0'));
      text.remove_prefix(std::min(text.size(), part.size() + 1));
      return std::string(part);
    };
    std::string name = take();
    files.emplace_back(std::move(name), take());
  }
  std::ranges::sort(files);
  cli::PackedApp packed{.name = "x", .version = "0", .files = {}};
  for (const auto& [name, content] : files) {
    packed.files.push_back({.path = name, .bytes = content.size(), .sha256 = to_hex(sha256(content))});
  }
  try {
    const std::string list = to_text(packed.to_json());
    std::string archive = tar::head(cli::packed_list, list.size()) + list + tar::padding(list.size());
    for (const auto& [name, content] : files) {
      archive += tar::head(name, content.size()) + content + tar::padding(content.size());
    }
    return archive + tar::end();
  } catch (const Error&) {
    return "";
  }
}

std::string content_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void check_unpacked(const cli::PackedApp& packed, const fs::path& folder, const std::string& archive) {
  expect(cli::differences(folder, packed).empty(), "what was unpacked is what is listed");
  const auto listed = cli::find_packed(folder);
  expect(listed && to_text(listed->to_json()) == to_text(packed.to_json()), "the list stays with the app");
  const fs::path again = folder.parent_path() / "again.tar";
  cli::pack_app(folder, again);
  expect(content_of(again) == archive, "there is one spelling of an archive");
}

}  // namespace

// The first byte says what the rest is: an archive, or the files of one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const AsFile input("app.tar");
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string archive = data[0] % 2 == 0 ? std::string(rest) : archive_of(rest);
  input.write(reinterpret_cast<const std::uint8_t*>(archive.data()), archive.size());
  const fs::path folder = input.folder() / "app";
  fs::create_directory(folder);
  try {
    const cli::PackedApp packed = cli::unpack_app(input.file(), folder);
    check_unpacked(packed, folder, archive);
  } catch (const Error& error) {
    expect(error.code() != ErrorCode::io_error && error.code() != ErrorCode::internal_error,
           "a refusal says what is wrong");
    expect(is_valid_utf8(error.message()), "an error's message is valid UTF-8");
  }
  fs::remove_all(folder);
  fs::remove(input.folder() / "again.tar");
  expect(std::distance(fs::directory_iterator(input.folder()), {}) == 1, "nothing is written beside the folder");
  return 0;
}
