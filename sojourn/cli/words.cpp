#include "sojourn/cli/words.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <utility>

namespace sojourn::cli {

void add_common(CLI::App& command, Words& words, SettingUser user) {
  command.add_flag("--json", words.json, "Print JSON for machines");
  command.add_option("--config", words.sources.config, "Settings file; else SOJOURN_CONFIG, else ./sojourn.toml")
      ->type_name("FILE");
  for (const SettingInfo& setting : all_settings()) {
    if (setting.flag.empty() || !setting.used_by(user)) continue;
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

void on_call(CLI::App& command, Words& words, SettingUser user,
             std::function<ExitCode(const Settings&, Console&)> act) {
  add_common(command, words, user);
  command.callback([&words, act = std::move(act)] { words.command = act; });
}

}  // namespace sojourn::cli
