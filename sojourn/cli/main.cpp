#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "sojourn/cli/command_line.hpp"
#include "sojourn/worker/supervisor_process.hpp"

namespace {

// SOJOURN_* of the environment.
std::map<std::string, std::string, std::less<>> read_environment() {
  std::map<std::string, std::string, std::less<>> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (!text.starts_with("SOJOURN_") || equals == std::string_view::npos) continue;
    variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

bool has_colours() {
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  return ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1 && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

// Where standard input, output or error is closed, the next file that is opened would take its number, and be written
// to by whoever means the standard one.
void open_standard_descriptors() {
  int opened = 0;
  do {
    opened = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (opened >= 0 && opened <= STDERR_FILENO);
  if (opened >= 0) ::close(opened);
}

}  // namespace

int main(int count, char** words) {
  using namespace sojourn::cli;
  open_standard_descriptors();
  // What the server starts, so no word of a person's: before all else, since it is to stay small and has no threads.
  if (count == 2 && std::string_view(words[1]) == "supervise") return sojourn::worker::supervisor_main();
  Console console{.in = std::cin, .out = std::cout, .err = std::cerr, .colour = has_colours()};
  return run_command_line({words + 1, words + count}, {.environment = read_environment()}, console);
}
