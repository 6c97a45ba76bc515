#pragma once

#include <cstdint>
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

// What every command takes: --json, --config, and the flags of the settings that it uses.
void add_common(CLI::App& command, Words& words, std::uint8_t users);

void add_app(CLI::App& root, Words& words);

}  // namespace sojourn::cli
