#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/device/board_pool.hpp"
#include "sojourn/server/retention.hpp"
#include "sojourn/worker/worker_users.hpp"

// Everything that can be set, and where each value came from: flag, else environment, else sojourn.toml, else
// default.
//
// One table (all_settings) declares them; the flags of every command, `sojourn config` and the reference page follow
// it.
namespace sojourn::cli {

// A value as it was given, for people.
struct SettingValue {
  std::string_view name;
  std::string text;    // "********" for a secret that is set
  std::string source;  // "--data", "SOJOURN_DATA", "sojourn.toml:3" or "default"
};

struct Settings {
  std::string listen_host;
  std::uint16_t listen_port = 0;
  std::filesystem::path data;
  std::filesystem::path data_sessions_path;  // "" for `sessions` in `data`
  std::filesystem::path apps;
  std::filesystem::path lifecycles;
  std::vector<device::NamedBoard> boards;
  std::optional<std::filesystem::path> keys;
  worker::UserRange worker_uids;  // none: workers have the server's
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
  Seconds drain_grace{};
  std::string webhook_key;  // "" for none
  bool webhook_allow_private = false;
  bool audit_reads = false;
  server::RetentionRules retention;
  std::string url;
  std::string api_key;  // "" for none
  Seconds timeout{};

  std::vector<SettingValue> values;  // of all, in the table's order

  const SettingValue& value(std::string_view name) const;
};

// Which commands take a setting's flag. A reader is one of the data folder.
enum class SettingUser : std::uint8_t { nobody = 0, server = 1, client = 2, reader = 4, everybody = 7 };

struct SettingInfo {
  std::string_view name;      // in sojourn.toml
  std::string_view flag;      // "" where there is none: secrets do not belong on a command line
  std::string_view variable;  // of the environment
  std::string_view value;     // what it looks like: "HOST:PORT"
  std::string_view fallback;
  std::string_view help;
  std::uint8_t users;  // of SettingUser
  bool is_path;        // relative to the folder of the sojourn.toml that it stands in
  bool is_secret;

  // Reads `text` into the settings. Errors: invalid_request, saying what the value must be.
  void (*apply)(Settings& settings, const std::string& text);

  bool used_by(SettingUser user) const { return (users & static_cast<std::uint8_t>(user)) != 0; }
};

std::span<const SettingInfo> all_settings();

struct SettingSources {
  std::map<std::string, std::string, std::less<>> flags;        // by the setting's name
  std::map<std::string, std::string, std::less<>> environment;  // by variable; an empty one counts as not set
  std::optional<std::filesystem::path> config;                  // --config; else SOJOURN_CONFIG
  std::filesystem::path folder = ".";                           // where ./sojourn.toml is looked for
};

// Errors: config_invalid, naming the source (flag, variable or file:line) of a bad value or unknown key, or the file
//         that cannot be read.
Settings read_settings(const SettingSources& sources);

}  // namespace sojourn::cli
