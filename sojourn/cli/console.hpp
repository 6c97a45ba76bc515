#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/error.hpp"

// How commands talk to people and to scripts.
namespace sojourn::cli {

enum class ExitCode {
  ok = 0,
  failed = 1,       // what was asked for failed: a call, a verification, a request that the server refused
  usage = 2,        // bad usage or settings; nothing was tried
  unreachable = 3,  // the server could not be reached, or the store could not be opened
};

// Handed in, so that tests see what people would.
struct Console {
  std::istream& in;
  std::ostream& out;  // results only
  std::ostream& err;  // everything else
  bool colour = false;
  bool json = false;
};

enum class Colour { none, bold, green, yellow, red };

// `text` in `colour` where the console has colours.
std::string paint(const Console& console, Colour colour, std::string_view text);

// `text` without what could move a terminal's cursor or change its colours: control characters become '?'.
// Line feeds and tabs stay where `keep_lines`.
std::string printable(std::string_view text, bool keep_lines = false);

// Tells what went wrong and what to do: "sojourn: MESSAGE" and the registry's advice; with --json one JSON object.
// Returns the exit code for it.
ExitCode report(Console& console, const Error& error);

// What the app or its program said last, which tells its author where to look: whole lines, or "".
std::string last_words(const Error& error);

// Writes `value` as one line on standard output.
void print_json(Console& console, const Json& value);

struct Cell {
  std::string text;
  Colour colour = Colour::none;
};

// Rows under heads, in aligned columns.
class Table {
 public:
  explicit Table(std::vector<std::string> heads) : heads_(std::move(heads)) {}

  // Shape: as many cells as there are heads.
  void add(std::vector<Cell> row);
  void print(Console& console) const;

 private:
  std::vector<std::string> heads_;  // all empty: no line for them
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace sojourn::cli
