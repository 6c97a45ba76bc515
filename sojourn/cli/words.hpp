#pragma once

#include <functional>
#include <string>

#include "sojourn/cli/commands.hpp"

namespace CLI {
class App;
}

// What the words of a command line are understood as, and the pieces that the parser is made of.
namespace sojourn::cli {

// The parser writes into it while it reads them.
struct Words {
  SettingSources sources;
  bool json = false;
  std::function<ExitCode(const Settings&, Console&)> command;

  RunOptions run;
  ListOptions list;
  NewSessionOptions new_session;
  NewAppOptions new_app;
  CheckOptions check;
  TryOptions try_out;
  PackOptions pack;
  UnpackOptions unpack;
  VerifyOptions verify;
  JournalKeyOptions journal_key;
  ShowOptions show;
  PurgeOptions purge;
  RebuildOptions rebuild;
  ExportOptions export_to;
  StageOptions stage;
  StepOptions step;
  FlowOptions flow;
  NewKeyOptions new_key;
  BoardOptions board;
  std::string session;
  bool all = false;
};

// What every command takes: --json, --config, and the flags of the settings that `user` uses.
void add_common(CLI::App& command, Words& words, SettingUser user);

// What carries `command` out once all words are read, with what every command takes.
void on_call(CLI::App& command, Words& words, SettingUser user,
             std::function<ExitCode(const Settings&, Console&)> act);

template <class Options>
void on_call(CLI::App& command, Words& words, SettingUser user, const Options& options,
             ExitCode (*act)(const Options&, const Settings&, Console&)) {
  on_call(command, words, user,
          [&options, act](const Settings& settings, Console& console) { return act(options, settings, console); });
}

void add_app(CLI::App& root, Words& words);

}  // namespace sojourn::cli
