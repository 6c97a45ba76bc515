#pragma once

#include <string>

#include "sojourn/cli/console.hpp"

namespace sojourn::cli {

// What --input says: JSON, "@FILE", or "@-" for standard input. Errors: config_invalid.
Json input_of(const std::string& input, Console& console);

}  // namespace sojourn::cli
