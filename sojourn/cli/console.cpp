#include "sojourn/cli/console.hpp"

#include <algorithm>
#include <cassert>
#include <ostream>
#include <utility>

#include "sojourn/base/limits.hpp"

namespace sojourn::cli {

namespace {

// Columns that the text takes: its code points, which is right for all that has no double width.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

ExitCode exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::config_invalid:
      return ExitCode::usage;
    case ErrorCode::connection_failed:
    case ErrorCode::store_read_only:
    case ErrorCode::store_locked:
    case ErrorCode::store_corrupt:
    case ErrorCode::store_newer:
      return ExitCode::unreachable;
    default:
      return ExitCode::failed;
  }
}

}  // namespace

std::string paint(const Console& console, Colour colour, std::string_view text) {
  constexpr std::string_view starts[] = {"", "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
  if (!console.colour || colour == Colour::none) return std::string(text);
  return std::string(starts[static_cast<std::size_t>(colour)]).append(text).append("\x1b[0m");
}

std::string printable(std::string_view text, bool keep_lines) {
  std::string clean = to_valid_utf8(text);
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const auto byte = static_cast<unsigned char>(clean[i]);
    const bool kept = keep_lines && (byte == '\n' || byte == '\t');
    if ((byte < 0x20 && !kept) || byte == 0x7f) clean[i] = '?';
    // U+0080 to U+009F, which some terminals take for escape sequences.
    if (byte == 0xc2 && static_cast<unsigned char>(clean[i + 1]) < 0xa0) clean.replace(i, 2, "?");
  }
  return clean;
}

ExitCode report(Console& console, const Error& error) {
  if (console.json) {
    console.err << to_text(JsonObject{{"error", error.to_json()}}) << '\n';
  } else {
    console.err << paint(console, Colour::red, "sojourn:") << ' ' << printable(error.message(), true) << '\n'
                << "         " << info(error.code()).advice << '\n';
  }
  return exit_code_of(error.code());
}

std::string last_words(const Error& error) {
  for (const char* name : {"traceback", "stderr"}) {
    const Json* words = error.details().if_contains(name);
    if (words == nullptr || !words->is_string() || words->get_string().empty()) continue;
    std::string text(words->get_string());
    if (!text.ends_with('\n')) text += '\n';
    return text;
  }
  return "";
}

void print_json(Console& console, const Json& value) {
  // What an answer may hold, and a little deeper: the task around a call's output.
  constexpr JsonLimits answer{.bytes = 64 * limits::mebibyte, .depth = limits::json_depth + 8};
  console.out << to_text(value, answer) << '\n';
}

void Table::add(std::vector<Cell> row) {
  assert(row.size() == heads_.size());
  for (Cell& cell : row) cell.text = printable(cell.text);
  rows_.push_back(std::move(row));
}

void Table::print(Console& console) const {
  std::vector<std::size_t> widths;
  for (const std::string& head : heads_) widths.push_back(width_of(head));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i].text));
  }
  const auto print_row = [&](const std::vector<Cell>& row) {
    std::string line;
    std::size_t gap = 0;  // written only before more text, so that no line ends in blanks
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::size_t width = width_of(row[i].text);
      if (width > 0) line.append(gap, ' ').append(paint(console, row[i].colour, row[i].text));
      gap = (width > 0 ? 0 : gap) + widths[i] - width + 2;
    }
    console.out << line << '\n';
  };
  std::vector<Cell> heads;
  for (const std::string& head : heads_) heads.push_back({head, Colour::bold});
  if (std::ranges::any_of(heads_, [](const auto& head) { return !head.empty(); })) print_row(heads);
  for (const auto& row : rows_) print_row(row);
}

}  // namespace sojourn::cli
