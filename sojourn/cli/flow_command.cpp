#include <fmt/format.h>

#include <fstream>
#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/flow_tree.hpp"
#include "sojourn/cli/remote.hpp"

// The flows that ran in a session.
namespace sojourn::cli {

namespace {

// The newest run, or that of the task.
Json run_of(const FlowOptions& options, const Settings& settings) {
  if (options.session.empty()) throw Error(ErrorCode::config_invalid, "the session's id is empty");
  return Remote(settings).with([&](client::Client& client) {
    Json run;
    std::string target = fmt::format("/sessions/{}/flow", client::path_segment(options.session));
    while (!target.empty()) {
      client::Reply reply = client.ask({.target = target});
      target = reply.next;
      if (!reply.value.is_array()) continue;
      for (Json& one : reply.value.get_array()) {
        if (options.task.empty() || field(one, "task") == options.task) run = std::move(one);
      }
    }
    if (run.is_null()) {
      throw Error(ErrorCode::not_found, options.task.empty()
                                            ? fmt::format("no flow has run in session {}", options.session)
                                            : fmt::format("task {} was no run of a flow", options.task));
    }
    return run;
  });
}

std::string state_of(const Json& run) {
  const std::string state = field(run, "state");
  return state == "running" ? ", which runs" : state == "cut_short" ? ", which was cut short" : "";
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw Error(ErrorCode::io_error, fmt::format("{} cannot be written", to_valid_utf8(path)));
}

}  // namespace

ExitCode show_flow(const FlowOptions& options, const Settings& settings, Console& console) {
  const Json run = run_of(options, settings);
  const std::vector<FlowCall> calls = calls_of(run);
  const std::string title = fmt::format("{} of session {}, {}{}", printable(field(run, "function")),
                                        printable(options.session), printable(field(run, "start")), state_of(run));
  if (!options.svg.empty()) write_file(options.svg, svg_of(calls, title));
  if (console.json) {
    print_json(console, run);
    return ExitCode::ok;
  }
  if (!options.svg.empty()) {
    console.err << fmt::format("wrote {}\n", printable(options.svg));
    return ExitCode::ok;
  }
  console.err << title << '\n';
  draw_tree(console, calls, options.all);
  const std::string left_out = field(run, "left_out");
  if (left_out != "0" && !left_out.empty()) console.err << fmt::format("{} calls more\n", printable(left_out));
  return ExitCode::ok;
}

}  // namespace sojourn::cli
