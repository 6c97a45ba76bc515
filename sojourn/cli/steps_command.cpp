#include <fmt/format.h>

#include <ostream>

#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/remote.hpp"

// The stage and the steps of a session.
namespace sojourn::cli {

namespace {

std::string path_of(const std::string& session, std::string_view part) {
  if (session.empty()) throw Error(ErrorCode::config_invalid, "the session's id is empty");
  return fmt::format("/sessions/{}/{}", client::path_segment(session), part);
}

Json ask(const Settings& settings, const client::Question& question) {
  return Remote(settings).with([&](client::Client& client) { return client.ask(question); }).value;
}

std::string names_of(const Json& list) {
  std::string names;
  if (!list.is_array()) return "any";
  for (const Json& name : list.get_array()) {
    names.append(names.empty() ? "" : ", ").append(name.is_string() ? std::string(name.get_string()) : to_text(name));
  }
  return names.empty() ? "none, it is final" : names;
}

Cell status_cell(const std::string& status) {
  const Colour colour = status == "completed" ? Colour::green : status == "failed" ? Colour::red : Colour::yellow;
  return {status, colour};
}

}  // namespace

ExitCode show_or_move_stage(const StageOptions& options, const Settings& settings, Console& console) {
  client::Question question{.target = path_of(options.session, "stage")};
  if (!options.stage.empty()) {
    question.method = http::Method::put;
    JsonObject body{{"stage", options.stage}};
    if (!options.reason.empty()) body["reason"] = options.reason;
    question.body = to_text(body);
  }
  const Json stage = ask(settings, question);
  if (console.json || !stage.is_object()) {
    print_json(console, stage);
    return ExitCode::ok;
  }
  console.out << printable(field(stage, "stage")) << '\n';
  const Json* const allowed = stage.get_object().if_contains("allowed");
  console.err << "next: " << printable(allowed == nullptr ? "" : names_of(*allowed)) << '\n';
  return ExitCode::ok;
}

ExitCode change_step(const StepOptions& options, const Settings& settings, Console& console) {
  JsonObject body;
  if (options.attempt) body["attempt"] = *options.attempt;
  if (options.duration_ms) body["duration_ms"] = *options.duration_ms;
  if (!options.error.empty()) {
    body["error"] = options.error;
    if (options.action == "report") body["failed"] = true;
  }
  const std::string part = fmt::format("steps/{}/{}", client::path_segment(options.step), options.action);
  const Json step =
      ask(settings, {.method = http::Method::post, .target = path_of(options.session, part), .body = to_text(body)});
  if (console.json) {
    print_json(console, step);
    return ExitCode::ok;
  }
  const std::string took = field(step, "duration_ms");
  console.out << fmt::format("{} attempt {} {}{}\n", printable(field(step, "step")),
                             printable(field(step, "attempt")), printable(field(step, "status")),
                             took.empty() ? "" : " after " + printable(took) + " ms");
  return ExitCode::ok;
}

ExitCode show_steps(const std::string& session, const Settings& settings, Console& console) {
  const Json steps = ask(settings, {.target = path_of(session, "steps?limit=1000")});
  const Json* const attempts = steps.is_object() ? steps.get_object().if_contains("attempts") : nullptr;
  if (console.json || attempts == nullptr || !attempts->is_array()) {
    print_json(console, steps);
    return ExitCode::ok;
  }
  Table table({"STEP", "ATTEMPT", "STATUS", "MS", "STARTED"});
  for (const Json& attempt : attempts->get_array()) {
    table.add({{field(attempt, "step")},
               {field(attempt, "attempt")},
               status_cell(field(attempt, "status")),
               {field(attempt, "duration_ms")},
               {field(attempt, "started_at")}});
  }
  table.print(console);
  return ExitCode::ok;
}

}  // namespace sojourn::cli
