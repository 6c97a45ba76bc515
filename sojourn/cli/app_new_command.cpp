#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <ostream>
#include <sstream>

#include "sojourn/cli/commands.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_name = 64;

// What the templates are written with (templates/README.md).
constexpr std::string_view template_name = "new-algorithm";
constexpr std::string_view template_class = "NewAlgorithm";

void check_name(const std::string& name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; };
  if (!name.empty() && name.size() <= longest_name && name[0] >= 'a' && name[0] <= 'z' &&
      std::ranges::all_of(name, fits)) {
    return;
  }
  throw Error(ErrorCode::config_invalid,
              fmt::format("'{}' is no name of an app: it has 1 to {} of a-z, 0-9, '_' and '-', the first a letter",
                          name, longest_name));
}

// "bolt-check" is the class BoltCheck.
std::string class_name(std::string_view name) {
  std::string made;
  bool is_first = true;
  for (const char c : name) {
    if (c == '-' || c == '_') {
      is_first = true;
    } else {
      made += is_first && c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
      is_first = false;
    }
  }
  return made;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The prefix that this program was installed to, or its build folder: what has the templates in it.
fs::path find_prefix() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (const fs::path& prefix : {program.parent_path().parent_path(), program.parent_path()}) {
    if (fs::is_directory(prefix / "share/sojourn/templates", error)) return prefix;
  }
  throw Error(
      ErrorCode::config_invalid,
      fmt::format("there are no templates: they are installed with sojourn, in share/sojourn beside bin, and {} "
                  "is alone",
                  program.string()));
}

void write_file(const fs::path& file, const std::string& content) {
  std::ofstream stream(file, std::ios::binary);
  stream << content;
  stream.close();
  if (!stream) throw io_error(file.string(), errno);
}

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::stringstream content;
  content << stream.rdbuf();
  if (!stream) throw io_error(file.string(), errno);
  return content.str();
}

// The files of a folder, relative to it, in their order; what Python keeps beside its own left out.
std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().parent_path().filename() == "__pycache__") continue;
    files.push_back(entry.path().lexically_relative(folder));
  }
  std::ranges::sort(files);
  return files;
}

void copy_sdk(const fs::path& from, const fs::path& to) {
  for (const fs::path& file : files_in(from)) {
    fs::create_directories((to / file).parent_path());
    write_file(to / file, read_file(from / file));
  }
}

std::vector<std::string> next_commands(const NewAppOptions& options, const fs::path& prefix, const fs::path& folder) {
  std::vector<std::string> commands{"cd " + folder.string()};
  if (options.language == "cpp") {
    commands.push_back("cmake --preset default -DCMAKE_PREFIX_PATH=" + prefix.string());
    commands.emplace_back("cmake --build --preset default");
    commands.emplace_back("ctest --preset default");
  } else {
    commands.emplace_back("PYTHONPATH=lib python3 -m unittest");
  }
  commands.emplace_back("sojourn app check .");
  return commands;
}

}  // namespace

ExitCode new_app(const NewAppOptions& options, const Settings&, Console& console) {
  check_name(options.name);
  const fs::path prefix = find_prefix();
  const fs::path from = prefix / "share/sojourn/templates" / (options.kind + "-" + options.language);
  const fs::path folder = options.folder.empty() ? fs::path(options.name) : fs::path(options.folder);
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_empty(folder, error)) {
    throw Error(ErrorCode::already_exists, fmt::format("{} is there already", folder.string()));
  }
  fs::create_directories(folder, error);
  if (error) throw io_error(folder.string(), error.value());
  JsonArray made;
  for (const fs::path& file : files_in(from)) {
    const std::string content = replaced(read_file(from / file), template_name, options.name);
    write_file(folder / file, replaced(content, template_class, class_name(options.name)));
    made.emplace_back(file.string());
  }
  if (options.language == "python") copy_sdk(prefix / "share/sojourn/python/sojourn", folder / "lib/sojourn");
  const std::vector<std::string> next = next_commands(options, prefix, folder);
  if (console.json) {
    print_json(console, JsonObject{{"name", options.name},
                                   {"folder", to_valid_utf8(folder.string())},
                                   {"files", std::move(made)},
                                   {"next", JsonArray(next.begin(), next.end())}});
  } else {
    console.out << fmt::format("{} is made. Next:\n  {}\n", printable(folder.string()),
                               printable(fmt::format("{}", fmt::join(next, "\n  ")), true));
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
