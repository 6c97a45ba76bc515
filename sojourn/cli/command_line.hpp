#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sojourn/cli/console.hpp"

// The words of `sojourn`: its commands, their options, their help. The only place that knows the parser.
namespace sojourn::cli {

struct Surroundings {
  std::map<std::string, std::string, std::less<>> environment;
  std::filesystem::path folder = ".";  // where ./sojourn.toml is looked for
};

// Understands and runs one command; `arguments` are without the program's name. Returns the process's exit code.
// Everything that goes wrong is reported on `console.err`.
int run_command_line(std::vector<std::string> arguments, const Surroundings& surroundings, Console& console);

}  // namespace sojourn::cli
