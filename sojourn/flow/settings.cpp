#include "sojourn/flow/settings.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <sstream>

#include "sojourn/base/error.hpp"

namespace sojourn::flow {

namespace {

constexpr std::array words = {"VERBOSE", "REGULAR", "QUIET", "NONE"};  // in the order of LoggingSetting

[[noreturn]] void bad(const std::string& problem) {
  throw Error(ErrorCode::config_invalid, problem);
}

bool read_bool(const std::string& text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  bad("it must be true or false");
}

Milliseconds read_seconds(const std::string& text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !(seconds > 0 && seconds <= 1e9)) {
    bad("it must be a number of seconds above 0");
  }
  return Milliseconds(static_cast<std::int64_t>(seconds * 1'000));
}

LoggingSetting read_logging(const std::string& text) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (text == words[i]) return static_cast<LoggingSetting>(i);
  }
  bad("it must be VERBOSE, REGULAR, QUIET or NONE");
}

struct Word {
  const char* key;
  void (*read)(Settings&, const std::string&);
};

// Everything that can be said in words; a callback cannot.
constexpr std::array settable = {
    Word{"context", [](Settings& s, const std::string& text) { s.context = parse_json_object(text); }},
    Word{"timeout", [](Settings& s, const std::string& text) { s.timeout = read_seconds(text); }},
    Word{"end_on_error", [](Settings& s, const std::string& text) { s.end_on_error = read_bool(text); }},
    Word{"logging_setting", [](Settings& s, const std::string& text) { s.logging_setting = read_logging(text); }},
    Word{"log_file", [](Settings& s, const std::string& text) { s.log_file = text; }},
    Word{"run_identifier", [](Settings& s, const std::string& text) { s.run_identifier = text; }},
    Word{"prompt_injection", [](Settings& s, const std::string& text) { s.prompt_injection = read_bool(text); }},
    Word{"save_state", [](Settings& s, const std::string& text) { s.save_state = read_bool(text); }},
    Word{"name", [](Settings& s, const std::string& text) { s.name = text; }},
    Word{"flow_name", [](Settings& s, const std::string& text) { s.flow_name = text; }},
    Word{"grace", [](Settings& s, const std::string& text) { s.grace = read_seconds(text); }},
    Word{"record", [](Settings& s, const std::string& text) { s.record = read_bool(text); }},
};

void read(const Word& word, Settings& settings, const std::string& text, const std::string& place) {
  try {
    word.read(settings, text);
  } catch (const Error& error) {
    bad(fmt::format("{}: \"{}\": {}", place, to_valid_utf8(text), error.message()));
  }
}

Settings from_environment(const ConfigSources& sources) {
  Settings settings;
  if (!sources.environment) return settings;
  for (const Word& word : settable) {
    std::string name = "SOJOURN_FLOW_";
    for (const char* c = word.key; *c != '\0'; ++c) name += static_cast<char>(*c >= 'a' ? *c - 'a' + 'A' : *c);
    if (const auto text = sources.environment(name)) read(word, settings, *text, name);
  }
  return settings;
}

std::string text_of(const toml::node& node, const std::string& place) {
  if (const auto text = node.value<std::string>()) return *text;
  if (const auto flag = node.value<bool>(); node.is_boolean()) return *flag ? "true" : "false";
  if (const auto number = node.value<double>()) return fmt::format("{}", *number);
  if (const auto* table = node.as_table()) {
    std::ostringstream json;
    json << toml::json_formatter(*table);
    return json.str();
  }
  bad(place + ": it must be text, a number, true or false, or a table");
}

Settings from_file(const ConfigSources& sources) {
  Settings settings;
  if (!sources.file || !std::filesystem::exists(*sources.file)) return settings;
  const std::string file = sources.file->string();
  try {
    const toml::table table = toml::parse_file(file);
    for (const auto& [key, value] : table) {
      const auto* word =
          std::ranges::find(settable, key.str(), [](const Word& known) { return std::string_view(known.key); });
      if (word == settable.end()) bad(fmt::format("{}: \"{}\" is no setting of a flow session", file, key.str()));
      const std::string place = fmt::format("{}: {}", file, word->key);
      read(*word, settings, text_of(value, place), place);
    }
  } catch (const toml::parse_error& error) {
    bad(fmt::format("{}, line {}: {}", file, error.source().begin.line, error.description()));
  }
  return settings;
}

template <class T>
void fill(std::optional<T>& value, const std::optional<T>& other) {
  if (!value) value = other;
}

// What `settings` does not say, as `other` says it.
void fill(Settings& settings, const Settings& other) {
  for (const auto& [key, value] : other.context) settings.context.emplace(key, value);
  fill(settings.timeout, other.timeout);
  fill(settings.end_on_error, other.end_on_error);
  fill(settings.logging_setting, other.logging_setting);
  fill(settings.log_file, other.log_file);
  fill(settings.broadcast_callback, other.broadcast_callback);
  if (!settings.payload_callback) settings.payload_callback = other.payload_callback;
  fill(settings.run_identifier, other.run_identifier);
  fill(settings.prompt_injection, other.prompt_injection);
  fill(settings.save_state, other.save_state);
  fill(settings.name, other.name);
  fill(settings.flow_name, other.flow_name);
  fill(settings.grace, other.grace);
  fill(settings.record, other.record);
  if (settings.isolated == nullptr) settings.isolated = other.isolated;
}

// The seed's set_config() is a setting of the whole process.
struct ProcessConfig {
  std::mutex mutex;
  Settings settings;
};
ProcessConfig& process_config() {
  static ProcessConfig config;
  return config;
}

}  // namespace

std::string_view to_string(LoggingSetting setting) {
  return words.at(static_cast<std::size_t>(setting));
}

void set_config(const Settings& settings) {
  ProcessConfig& process = process_config();
  const std::scoped_lock lock(process.mutex);
  Settings now = settings;
  fill(now, process.settings);
  process.settings = std::move(now);
}

void clear_config() {
  ProcessConfig& process = process_config();
  const std::scoped_lock lock(process.mutex);
  process.settings = {};
}

ConfigSources config_sources() {
  ConfigSources sources;
  sources.environment = [](const std::string& name) -> std::optional<std::string> {
    const char* text = std::getenv(name.c_str());
    return text == nullptr ? std::nullopt : std::optional<std::string>(text);
  };
  sources.file = sources.environment("SOJOURN_FLOW_CONFIG").value_or("sojourn-flow.toml");
  ProcessConfig& process = process_config();
  const std::scoped_lock lock(process.mutex);
  sources.process = process.settings;
  return sources;
}

Config resolve(const Settings& settings, const ConfigSources& sources) {
  Settings all = settings;
  fill(all, sources.process);
  fill(all, from_environment(sources));
  fill(all, from_file(sources));
  Config config;
  config.context = std::move(all.context);
  config.timeout = all.timeout.value_or(config.timeout);
  config.end_on_error = all.end_on_error.value_or(config.end_on_error);
  config.logging_setting = all.logging_setting.value_or(config.logging_setting);
  config.log_file = all.log_file;
  config.broadcast_callback = all.broadcast_callback;
  config.payload_callback = std::move(all.payload_callback);
  config.run_identifier = all.run_identifier;
  config.prompt_injection = all.prompt_injection.value_or(config.prompt_injection);
  config.save_state = all.save_state.value_or(config.save_state);
  config.name = all.name;
  config.flow_name = all.flow_name;
  config.grace = all.grace.value_or(config.grace);
  config.record = all.record.value_or(config.record);
  config.isolated = all.isolated;
  return config;
}

}  // namespace sojourn::flow
