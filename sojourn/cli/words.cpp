#include "sojourn/cli/words.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>

namespace sojourn::cli {

void add_common(CLI::App& command, Words& words, std::uint8_t users) {
  command.add_flag("--json", words.json, "Print JSON for machines");
  command.add_option("--config", words.sources.config, "Settings file; else SOJOURN_CONFIG, else ./sojourn.toml")
      ->type_name("FILE");
  for (const SettingInfo& setting : all_settings()) {
    if (setting.flag.empty() || (setting.users & users) == 0) continue;
    std::string help(setting.help);
    if (!setting.fallback.empty()) help.append(" [").append(setting.fallback).append("]");
    command
        .add_option_function<std::string>(
            std::string(setting.flag),
            [&words, name = std::string(setting.name)](const std::string& text) { words.sources.flags[name] = text; },
            help)
        ->type_name(std::string(setting.value));
  }
}

}  // namespace sojourn::cli
