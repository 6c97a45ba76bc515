#include "sojourn/cli/input.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <istream>

#include "sojourn/base/limits.hpp"

namespace sojourn::cli {

namespace {

std::string read_input(std::istream& in, const std::string& name) {
  std::string text;
  char piece[16 * limits::kibibyte];
  while (in.read(piece, sizeof piece) || in.gcount() > 0) {
    text.append(piece, static_cast<std::size_t>(in.gcount()));
    if (text.size() > limits::json_bytes) {
      throw Error(ErrorCode::config_invalid,
                  fmt::format("--input: {} is larger than {} bytes", name, limits::json_bytes));
    }
  }
  if (in.bad()) throw Error(ErrorCode::config_invalid, fmt::format("--input: {} cannot be read", name));
  return text;
}

}  // namespace

Json input_of(const std::string& input, Console& console) {
  std::string text = input;
  if (input == "@-") {
    text = read_input(console.in, "standard input");
  } else if (input.starts_with('@')) {
    const std::string name = input.substr(1);
    std::ifstream file(name, std::ios::binary);
    if (!file || std::filesystem::is_directory(name)) {
      throw Error(ErrorCode::config_invalid, fmt::format("--input: there is no file {} that can be read", name));
    }
    text = read_input(file, name);
  }
  try {
    return parse_json(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::config_invalid, fmt::format("--input is no JSON: {}", error.message()));
  }
}

}  // namespace sojourn::cli
