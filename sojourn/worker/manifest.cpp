#include "sojourn/worker/manifest.hpp"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::worker {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_file_bytes = limits::mebibyte;

// Spare workers of an app; each is a process that only waits.
constexpr std::int64_t most_warm = 1'000;

bool is_lower_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

bool is_function_character(char c) {
  return is_lower_word(c) || (c >= 'A' && c <= 'Z') || c == '.';
}

bool is_app_name(std::string_view name) {
  const auto slash = name.find('/');
  const auto word = [](std::string_view part) {
    return !part.empty() && part.size() <= 64 && std::ranges::all_of(part, is_lower_word);
  };
  if (slash == std::string_view::npos) return word(name);
  return word(name.substr(0, slash)) && word(name.substr(slash + 1));
}

// One table of an app.toml, whose complaints name the file, the line and the key.
class Table {
 public:
  Table(const fs::path& file, const toml::table& table, std::string prefix)
      : file_(file), table_(table), prefix_(std::move(prefix)) {}

  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const {
    const toml::node* node = table_.get(key);
    const std::string name = prefix_ + std::string(key);
    std::string message =
        node == nullptr ? fmt::format("{}: {}: {}", file_.string(), name, expected)
                        : fmt::format("{}:{}: {}: {}", file_.string(), node->source().begin.line, name, expected);
    throw Error(ErrorCode::manifest_invalid, to_valid_utf8(message),
                {{"file", to_valid_utf8(file_.string())}, {"key", to_valid_utf8(name)}});
  }

  void allow(std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, value] : table_) {
      if (std::ranges::find(keys, key.str()) != keys.end()) continue;
      refuse(key.str(), fmt::format("there is no such key; expected one of {}", fmt::join(keys, ", ")));
    }
  }

  bool has(std::string_view key) const { return table_.contains(key); }

  std::optional<std::string> text(std::string_view key) const {
    if (!has(key)) return std::nullopt;
    return text_of(key, *table_.get(key), "expected a text");
  }

  std::optional<std::int64_t> integer(std::string_view key, std::int64_t least, std::int64_t most,
                                      std::string_view unit = "") const {
    if (!has(key)) return std::nullopt;
    const auto value = table_.get(key)->is_integer() ? table_[key].value<std::int64_t>() : std::nullopt;
    if (!value || *value < least || *value > most) {
      refuse(key, fmt::format("expected an integer from {} to {}{}", least, most, unit));
    }
    return value;
  }

  std::optional<double> number(std::string_view key, double least, double most) const {
    if (!has(key)) return std::nullopt;
    const auto value = table_.get(key)->is_number() ? table_[key].value<double>() : std::nullopt;
    // Also not a number (nan) is refused.
    if (!value || !(*value >= least && *value <= most)) {
      refuse(key, fmt::format("expected a number from {} to {}", least, most));
    }
    return value;
  }

  std::optional<bool> flag(std::string_view key) const {
    if (!has(key)) return std::nullopt;
    if (!table_.get(key)->is_boolean()) refuse(key, "expected true or false");
    return table_[key].value<bool>();
  }

  std::optional<std::vector<std::string>> texts(std::string_view key) const {
    if (!has(key)) return std::nullopt;
    constexpr std::string_view expected = "expected an array of texts, not empty";
    const toml::array* array = table_[key].as_array();
    if (array == nullptr || array->empty()) refuse(key, expected);
    std::vector<std::string> texts;
    for (const toml::node& element : *array) texts.push_back(text_of(key, element, expected));
    return texts;
  }

  std::map<std::string, std::string> all_texts() const {
    std::map<std::string, std::string> texts;
    for (const auto& [key, value] : table_) {
      const std::string name(key.str());
      if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos) {
        refuse(name, "expected a variable's name without '='");
      }
      texts.emplace(name, text_of(name, value, "expected a text"));
    }
    return texts;
  }

  std::optional<Table> table(std::string_view key) const {
    if (!has(key)) return std::nullopt;
    const toml::table* inner = table_[key].as_table();
    if (inner == nullptr) refuse(key, "expected a table");
    return Table(file_, *inner, prefix_ + std::string(key) + ".");
  }

 private:
  std::string text_of(std::string_view key, const toml::node& node, std::string_view expected) const {
    const auto* text = node.as_string();
    if (text == nullptr) refuse(key, expected);
    if (text->get().find('\0') != std::string::npos) refuse(key, "expected a text without NUL");
    return text->get();
  }

  const fs::path& file_;
  const toml::table& table_;
  std::string prefix_;
};

[[noreturn]] void refuse_file(const fs::path& file, std::string_view what) {
  throw Error(ErrorCode::manifest_invalid, to_valid_utf8(fmt::format("{}: {}", file.string(), what)),
              {{"file", to_valid_utf8(file.string())}});
}

toml::table parse(const fs::path& file) {
  std::error_code error;
  const fs::file_status found = fs::status(file, error);
  if (fs::is_directory(found)) refuse_file(file, "it is a folder; expected a file, the app's description");
  if (!fs::exists(found)) refuse_file(file, "there is no such file; expected the app's description");
  if (!fs::is_regular_file(found)) refuse_file(file, "it is no plain file; expected the app's description");
  if (fs::file_size(file, error) > max_file_bytes) refuse_file(file, "it has more than 1 MiB");
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream) refuse_file(file, "it cannot be read");
  try {
    return toml::parse(text, file.string());
  } catch (const toml::parse_error& wrong) {
    const auto line = wrong.source().begin.line;
    throw Error(ErrorCode::manifest_invalid,
                to_valid_utf8(fmt::format("{}:{}: {}; expected TOML", file.string(), line, wrong.description())),
                {{"file", to_valid_utf8(file.string())}, {"line", line}});
  }
}

void read_functions(const Table& table, session::AppInfo& info) {
  if (auto functions = table.texts("functions")) info.functions = std::move(*functions);
  std::set<std::string_view> seen;
  for (const std::string& name : info.functions) {
    const bool valid = !name.empty() && name.size() <= limits::function_name_bytes &&
                       std::ranges::all_of(name, is_function_character);
    if (!valid || !seen.insert(name).second) {
      table.refuse("functions", fmt::format("expected different names of 1 to {} letters, digits, '_', '-' or '.'",
                                            limits::function_name_bytes));
    }
  }
  info.default_function = table.text("default_function").value_or(info.functions.front());
  if (!seen.contains(info.default_function)) {
    table.refuse("default_function", fmt::format("expected one of {}", fmt::join(info.functions, ", ")));
  }
}

session::AppInfo read_info(const Table& table) {
  session::AppInfo info;
  info.name = table.text("name").value_or("");
  if (!is_app_name(info.name)) {
    table.refuse("name", "expected \"name\" or \"namespace/name\", each of 1 to 64 of a-z, 0-9, '_' and '-'");
  }
  info.version = table.text("version").value_or(info.version);
  if (info.version.empty() || info.version.size() > 64) table.refuse("version", "expected 1 to 64 characters");
  info.description = table.text("description").value_or("");
  read_functions(table, info);

  constexpr auto shortest = Seconds(limits::min_session_timeout).count();
  constexpr auto longest = Seconds(limits::max_session_timeout).count();
  constexpr std::int64_t a_week = 7 * 24 * 3600;
  constexpr std::int64_t a_million = 1'000'000;
  if (const auto value = table.integer("session_timeout", shortest, longest, " seconds")) {
    info.session_timeout = Seconds(*value);
  }
  if (const auto value = table.integer("call_timeout", 1, a_week, " seconds")) info.call_timeout = Seconds(*value);
  if (const auto value = table.integer("max_sessions", 1, a_million)) {
    info.max_sessions = static_cast<std::size_t>(*value);
  }
  if (const auto value = table.integer("queue_limit", 1, a_million)) {
    info.queue_limit = static_cast<std::size_t>(*value);
  }
  info.recover = table.flag("recover").value_or(false);
  if (const auto value = table.integer("sleep_after", 1, longest, " seconds")) {
    if (!info.recover)
      table.refuse("sleep_after", "expected recover = true beside it: a session wakes with its state only");
    info.sleep_after = Seconds(*value);
  }
  return info;
}

Sandbox read_sandbox(const Table& table, const Manifest& manifest) {
  const Sandbox sandbox{.is_wanted = table.flag("sandbox").value_or(false),
                        .has_network = table.flag("network").value_or(false)};
  if (sandbox.has_network && !sandbox.is_wanted) {
    table.refuse("network", "expected only where sandbox = true; without a sandbox every app has the network");
  }
  if (sandbox.is_wanted && (manifest.prefork || manifest.min_warm > 0)) {
    table.refuse("sandbox",
                 "expected neither prefork nor min_warm beside it: a sandbox is made for one session's folder");
  }
  return sandbox;
}

void read_limits(const Table& table, Manifest& manifest) {
  table.allow({"memory_mb", "cpus", "cpu_seconds", "processes", "open_files", "file_size_mb", "folder_mb",
               "output_mb", "crashes_per_minute"});
  constexpr std::int64_t most = std::int64_t(1) << 40;
  const auto read = [&](std::string_view key, std::int64_t least) {
    return static_cast<std::uint64_t>(table.integer(key, least, most).value_or(0));
  };
  manifest.limits = {
      .memory_bytes = read("memory_mb", 1) * limits::mebibyte,
      .cpu_seconds = read("cpu_seconds", 1),
      .cpu_thousandths = static_cast<std::uint64_t>(table.number("cpus", 0.01, 1024).value_or(0) * 1000),
      .processes = read("processes", 1),
      .open_files = read("open_files", 8),
      .file_bytes = read("file_size_mb", 1) * limits::mebibyte};
  manifest.folder_bytes = read("folder_mb", 1) * limits::mebibyte;
  manifest.crashes_per_minute = static_cast<std::size_t>(table.integer("crashes_per_minute", 1, 1000).value_or(0));
  constexpr std::int64_t most_output = limits::json_bytes / limits::mebibyte;
  const auto output = table.integer("output_mb", 1, most_output).value_or(most_output);
  manifest.info.output_bytes = static_cast<std::size_t>(output) * limits::mebibyte;
}

void replace_app(std::string& text, const std::string& folder) {
  constexpr std::string_view placeholder = "{app}";
  for (std::size_t at = 0; (at = text.find(placeholder, at)) != std::string::npos; at += folder.size()) {
    text.replace(at, placeholder.size(), folder);
  }
}

}  // namespace

Manifest read_manifest(const fs::path& folder) {
  std::error_code error;
  fs::path absolute = fs::weakly_canonical(folder, error);
  if (error) absolute = folder;
  const fs::path file = absolute / "app.toml";
  const toml::table parsed = parse(file);
  const Table table(file, parsed, "");
  table.allow({"name", "version", "description", "command", "functions", "default_function", "session_timeout",
               "call_timeout", "max_sessions", "queue_limit", "recover", "sleep_after", "prefork", "min_warm",
               "sandbox", "network", "limits", "env"});
  Manifest manifest;
  manifest.folder = absolute.string();
  manifest.info = read_info(table);
  if (auto command = table.texts("command")) manifest.command = std::move(*command);
  if (manifest.command.empty() || manifest.command.front().empty()) {
    table.refuse("command", "expected an array of texts: the program and its arguments");
  }
  manifest.prefork = table.flag("prefork").value_or(false);
  if (const auto value = table.integer("min_warm", 0, most_warm))
    manifest.min_warm = static_cast<std::size_t>(*value);
  manifest.sandbox = read_sandbox(table, manifest);
  if (const auto limits = table.table("limits")) read_limits(*limits, manifest);
  if (const auto env = table.table("env")) manifest.env = env->all_texts();
  for (std::string& part : manifest.command) replace_app(part, manifest.folder);
  for (auto& [name, value] : manifest.env) replace_app(value, manifest.folder);
  return manifest;
}

FoundManifests find_manifests(const fs::path& apps_folder) {
  std::error_code error;
  std::vector<fs::path> folders;
  for (fs::directory_iterator entry(apps_folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (fs::exists(entry->path() / "app.toml", ignored)) folders.push_back(entry->path());
  }
  if (error) throw io_error(fmt::format("the apps folder {}", apps_folder.string()), error.value());
  std::ranges::sort(folders);

  FoundManifests found;
  for (const fs::path& folder : folders) {
    try {
      Manifest manifest = read_manifest(folder);
      const auto same = std::ranges::find(found.apps, manifest.info.name,
                                          [](const Manifest& other) -> const auto& { return other.info.name; });
      if (same != found.apps.end()) {
        refuse_file(folder / "app.toml",
                    fmt::format("name: expected another name; {} has \"{}\" already", same->folder, same->info.name));
      }
      found.apps.push_back(std::move(manifest));
    } catch (const Error& wrong) {
      found.broken.push_back({to_valid_utf8(folder.filename().string()), wrong});
    }
  }
  return found;
}

}  // namespace sojourn::worker
