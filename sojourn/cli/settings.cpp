#include "sojourn/cli/settings.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <cstdlib>

#include "sojourn/base/error.hpp"
#include "sojourn/client/options.hpp"
#include "sojourn/server/webhooks.hpp"

namespace sojourn::cli {

namespace {

Error bad(std::string problem) {
  return Error(ErrorCode::invalid_request, std::move(problem));
}

int parse_number(std::string_view text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    throw bad(fmt::format("it must be a whole number from {} to {}", least, most));
  }
  return number;
}

void apply_listen(Settings& settings, const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) throw bad("it must be HOST:PORT; port 0 picks a free one");
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code not_an_address;
  boost::asio::ip::make_address(host, not_an_address);
  if (not_an_address && host != "localhost") throw bad("its host must be an IP address or localhost");
  settings.listen_port = static_cast<std::uint16_t>(parse_number(text.substr(colon + 1), 0, 65535));
  settings.listen_host = host;
}

std::filesystem::path parse_path(const std::string& text) {
  if (text.empty() || text.find('\0') != std::string::npos) throw bad("it must be a path");
  return text;
}

void apply_data(Settings& settings, const std::string& text) {
  settings.data = parse_path(text);
}

void apply_data_sessions_path(Settings& settings, const std::string& text) {
  settings.data_sessions_path.clear();
  if (!text.empty()) settings.data_sessions_path = parse_path(text);
}

void apply_apps(Settings& settings, const std::string& text) {
  settings.apps = parse_path(text);
}

void apply_lifecycles(Settings& settings, const std::string& text) {
  settings.lifecycles = parse_path(text);
}

void apply_keys(Settings& settings, const std::string& text) {
  settings.keys.reset();
  if (!text.empty()) settings.keys = parse_path(text);
}

void apply_worker_uids(Settings& settings, const std::string& text) {
  settings.worker_uids = {};
  if (text.empty()) return;
  const auto dash = text.find('-');
  const auto id = [](const std::string& number) {
    return static_cast<uid_t>(parse_number(number, 1, std::numeric_limits<int>::max()));
  };
  if (dash == std::string::npos) throw bad("it must be FIRST-LAST, two user ids");
  const worker::UserRange range{id(text.substr(0, dash)), id(text.substr(dash + 1))};
  if (range.last < range.first) throw bad("it must be FIRST-LAST, where LAST is not less than FIRST");
  settings.worker_uids = range;
}

void apply_log_level(Settings& settings, const std::string& text) {
  const std::optional<LogLevel> level = parse_log_level(text);
  if (!level) throw bad("it must be debug, info, warning or error");
  settings.log_level = *level;
}

void apply_log_format(Settings& settings, const std::string& text) {
  if (text != "text" && text != "json") throw bad("it must be text or json");
  settings.log_format = text == "json" ? LogFormat::json : LogFormat::text;
}

void apply_boards(Settings& settings, const std::string& text) {
  try {
    settings.boards = device::parse_boards(text);
  } catch (const Error& error) {
    throw bad(error.message());
  }
}

void apply_drain_grace(Settings& settings, const std::string& text) {
  settings.drain_grace = Seconds(parse_number(text, 0, 3600));
}

void apply_webhook_secret(Settings& settings, const std::string& text) {
  settings.webhook_key = text.empty() ? "" : server::parse_webhook_secret(text);
}

void apply_webhook_allow_private(Settings& settings, const std::string& text) {
  if (text != "true" && text != "false") throw bad("it must be true or false");
  settings.webhook_allow_private = text == "true";
}

void apply_audit_reads(Settings& settings, const std::string& text) {
  if (text != "true" && text != "false") throw bad("it must be true or false");
  settings.audit_reads = text == "true";
}

void apply_retention(Settings& settings, const std::string& text) {
  const std::uint64_t bytes = settings.retention.bytes;
  settings.retention = server::parse_retention(text);
  settings.retention.bytes = bytes;
}

void apply_retention_size(Settings& settings, const std::string& text) {
  settings.retention.bytes = text.empty() ? 0 : server::parse_size(text);
}

void apply_url(Settings& settings, const std::string& text) {
  client::parse_server_url(text);
  settings.url = text;
}

void apply_api_key(Settings& settings, const std::string& text) {
  // It goes into a header line as it is.
  const bool fits = std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
  if (!fits) throw bad("it must be printable ASCII without spaces");
  settings.api_key = text;
}

void apply_timeout(Settings& settings, const std::string& text) {
  settings.timeout = Seconds(parse_number(text, 1, 86400));
}

constexpr auto server = static_cast<std::uint8_t>(SettingUser::server);
constexpr auto client = static_cast<std::uint8_t>(SettingUser::client);
constexpr auto reader = static_cast<std::uint8_t>(SettingUser::reader);

// clang-format off
constexpr std::array settings_table{
    SettingInfo{"listen", "--listen", "SOJOURN_LISTEN", "HOST:PORT", "127.0.0.1:8080",
                "Address to listen on; port 0 picks a free one", server, false, false, apply_listen},
    SettingInfo{"data", "--data", "SOJOURN_DATA", "DIR", "data",
                "Folder that keeps the sessions", server | reader, true, false, apply_data},
    SettingInfo{"data_sessions_path", "--data-sessions-path", "SOJOURN_DATA_SESSIONS_PATH", "DIR", "",
                "Folder of the sessions' folders; without one, sessions in the data folder", server | reader, true,
                false, apply_data_sessions_path},
    SettingInfo{"apps", "--apps", "SOJOURN_APPS", "DIR", "apps",
                "Folder of the apps, one folder with an app.toml each", server, true, false, apply_apps},
    SettingInfo{"lifecycles", "--lifecycles", "SOJOURN_LIFECYCLES", "DIR", "lifecycles",
                "Folder of more lifecycles, a NAME.toml each", server, true, false, apply_lifecycles},
    SettingInfo{"boards", "--boards", "SOJOURN_BOARDS", "NAME=ADDRESS;...", "",
                "MicroPython boards that serve sessions", server, false, false, apply_boards},
    SettingInfo{"keys", "--keys", "SOJOURN_KEYS", "FILE", "",
                "File of API keys; without one, everybody on this machine may call", server, true, false, apply_keys},
    SettingInfo{"worker_uids", "--worker-uids", "SOJOURN_WORKER_UIDS", "FIRST-LAST", "",
                "User ids that nobody else has, one for each worker; needs root", server, false, false,
                apply_worker_uids},
    SettingInfo{"log_level", "--log-level", "SOJOURN_LOG_LEVEL", "LEVEL", "info",
                "Least level that is logged: debug, info, warning, error", server, false, false, apply_log_level},
    SettingInfo{"log_format", "--log-format", "SOJOURN_LOG_FORMAT", "FORMAT", "text",
                "Form of the log on standard error: text, json", server, false, false, apply_log_format},
    SettingInfo{"drain_grace", "--drain-grace", "SOJOURN_DRAIN_GRACE", "SECONDS", "10",
                "How long running calls may go on after SIGTERM", server, false, false, apply_drain_grace},
    SettingInfo{"webhook_secret", "", "SOJOURN_WEBHOOK_SECRET", "SECRET", "",
                "What webhooks are signed with; without one, none are sent", server, false, true,
                apply_webhook_secret},
    SettingInfo{"webhook_allow_private", "--webhook-allow-private", "SOJOURN_WEBHOOK_ALLOW_PRIVATE", "BOOL", "false",
                "Send webhooks to this machine and private networks too", server, false, false,
                apply_webhook_allow_private},
    SettingInfo{"audit_reads", "--audit-reads", "SOJOURN_AUDIT_READS", "BOOL", "false",
                "Write into a session's journal who reads it or an artefact", server, false, false,
                apply_audit_reads},
    SettingInfo{"retention", "--retention", "SOJOURN_RETENTION", "RULES", "",
                "How long sessions are kept once they are over: AGE, APP=AGE, ...; else for ever", server, false, false,
                apply_retention},
    SettingInfo{"retention_size", "--retention-size", "SOJOURN_RETENTION_SIZE", "SIZE", "",
                "What all sessions may take up; past it the oldest go that are over", server, false, false,
                apply_retention_size},
    SettingInfo{"url", "--url", "SOJOURN_URL", "URL", "http://127.0.0.1:8080",
                "Server that the commands talk to", client, false, false, apply_url},
    SettingInfo{"api_key", "", "SOJOURN_API_KEY", "KEY", "",
                "Key that the commands show to the server", client, false, true, apply_api_key},
    SettingInfo{"timeout", "--timeout", "SOJOURN_TIMEOUT", "SECONDS", "900",
                "How long the commands wait for an answer", client, false, false, apply_timeout},
};
// clang-format on

// What a sojourn.toml says: for each key its text and line.
struct FileValue {
  std::string text;
  std::string source;
};
using FileValues = std::map<std::string, FileValue, std::less<>>;

std::string names_of_settings() {
  std::string names;
  for (const SettingInfo& setting : settings_table) names.append(names.empty() ? "" : ", ").append(setting.name);
  return names;
}

FileValues read_file(const std::filesystem::path& file) {
  const auto at = [&](const toml::source_region& place) {
    return fmt::format("{}:{}", file.lexically_normal().string(), place.begin.line);
  };
  toml::table root;
  try {
    root = toml::parse_file(file.string());
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::config_invalid, fmt::format("{}: {}", at(error.source()), error.description()));
  }
  FileValues values;
  for (const auto& [key, node] : root) {
    const std::string source = at(node.source());
    const auto* setting = std::ranges::find(settings_table, key.str(), &SettingInfo::name);
    if (setting == settings_table.end()) {
      throw Error(ErrorCode::config_invalid,
                  fmt::format("{}: there is no setting '{}'; there are {}", source, key.str(), names_of_settings()));
    }
    std::string text;
    if (const auto* string = node.as_string()) {
      text = string->get();
    } else if (const auto* number = node.as_integer()) {
      text = std::to_string(number->get());
    } else if (const auto* boolean = node.as_boolean()) {
      text = boolean->get() ? "true" : "false";
    } else {
      throw Error(ErrorCode::config_invalid,
                  fmt::format("{}: {} must be a text, a whole number, true or false", source, key.str()));
    }
    const bool is_relative = setting->is_path && !text.empty() && std::filesystem::path(text).is_relative();
    if (is_relative) text = (file.parent_path() / text).lexically_normal().string();
    values[std::string(key.str())] = {.text = text, .source = source};
  }
  return values;
}

FileValues read_config(const SettingSources& sources) {
  std::filesystem::path file = sources.folder / "sojourn.toml";
  std::string asked_by;
  if (sources.config) {
    file = *sources.config;
    asked_by = "--config";
  } else if (const auto variable = sources.environment.find("SOJOURN_CONFIG");
             variable != sources.environment.end() && !variable->second.empty()) {
    file = variable->second;
    asked_by = "SOJOURN_CONFIG";
  }
  std::error_code error;
  const bool is_there = std::filesystem::is_regular_file(file, error);
  if (!is_there && asked_by.empty()) return {};
  if (!is_there) {
    throw Error(ErrorCode::config_invalid,
                fmt::format("{}: {} is no file that can be read", asked_by, file.string()));
  }
  return read_file(file);
}

SettingValue choose(const SettingInfo& setting, const SettingSources& sources, const FileValues& file) {
  SettingValue value{.name = setting.name, .text = std::string(setting.fallback), .source = "default"};
  const auto variable = sources.environment.find(setting.variable);
  if (const auto flag = sources.flags.find(setting.name); flag != sources.flags.end()) {
    value.text = flag->second;
    value.source = setting.flag;
  } else if (variable != sources.environment.end() && !variable->second.empty()) {
    value.text = variable->second;
    value.source = setting.variable;
  } else if (const auto line = file.find(setting.name); line != file.end()) {
    value.text = line->second.text;
    value.source = line->second.source;
  }
  return value;
}

}  // namespace

const SettingValue& Settings::value(std::string_view name) const {
  const auto found = std::ranges::find(values, name, &SettingValue::name);
  if (found == values.end()) throw Error(ErrorCode::internal_error, fmt::format("there is no setting '{}'", name));
  return *found;
}

std::span<const SettingInfo> all_settings() {
  return settings_table;
}

Settings read_settings(const SettingSources& sources) {
  const FileValues file = read_config(sources);
  Settings settings;
  for (const SettingInfo& setting : settings_table) {
    SettingValue value = choose(setting, sources, file);
    try {
      setting.apply(settings, value.text);
    } catch (const Error& error) {
      const std::string shown = setting.is_secret ? "" : fmt::format(" '{}'", to_valid_utf8(value.text));
      throw Error(ErrorCode::config_invalid,
                  fmt::format("{}: bad {}{}: {}", value.source, setting.name, shown, error.message()));
    }
    if (setting.is_secret && !value.text.empty()) value.text = "********";
    settings.values.push_back(std::move(value));
  }
  return settings;
}

}  // namespace sojourn::cli
