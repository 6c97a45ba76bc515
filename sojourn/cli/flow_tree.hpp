#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/cli/console.hpp"

// A run of a flow as a picture: who called whom, and when.
namespace sojourn::cli {

struct FlowCall {
  std::uint64_t id = 0;
  std::optional<std::uint64_t> caller;
  std::string node;
  std::string status;  // Open, Completed, Failed
  std::string error;
  Microseconds start{0};  // from the run's
  Microseconds duration{0};
};

// The calls of a run as the server tells of it; a call comes after its caller, else it has none.
// Errors: invalid_request for another shape.
std::vector<FlowCall> calls_of(const Json& run);

// Draws them as a tree, each with its time and where that lies within the run. Of a caller's calls of one node that
// went well and called nothing, the first ten are drawn and the others counted, unless `all` are wanted.
void draw_tree(Console& console, const std::vector<FlowCall>& calls, bool all);

// The same as a picture: a bar for each call.
std::string svg_of(const std::vector<FlowCall>& calls, const std::string& title);

}  // namespace sojourn::cli
