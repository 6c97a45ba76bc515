#include <fmt/format.h>

#include <fstream>
#include <istream>
#include <iterator>
#include <ostream>

#include "sojourn/base/limits.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/remote.hpp"
#include "sojourn/store/record.hpp"

namespace sojourn::cli {

namespace {

using store::TaskStatus;

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

Json input_of(const RunOptions& options, Console& console) {
  std::string text = options.input;
  if (options.input == "@-") {
    text = read_input(console.in, "standard input");
  } else if (options.input.starts_with('@')) {
    const std::string name = options.input.substr(1);
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

JsonObject request_of(const RunOptions& options, Console& console) {
  JsonObject request{{"app", options.app}, {"input", input_of(options, console)}, {"wait", !options.no_wait}};
  if (!options.function.empty()) request["function"] = options.function;
  if (!options.session.empty()) request["session"] = options.session;
  if (options.session_timeout) request["session_timeout"] = *options.session_timeout;
  return request;
}

// The wire has numbers; words are accepted too, as the SDKs do.
TaskStatus status_of(const Json& task) {
  const std::string status = field(task, "status");
  for (int number = 0; number <= static_cast<int>(TaskStatus::cancelled); ++number) {
    const auto candidate = static_cast<TaskStatus>(number);
    if (status == std::to_string(number) || status == store::to_string(candidate)) return candidate;
  }
  return TaskStatus::unknown;
}

// What made the call fail: "error_info" holds all of it, "error" the message for callers of seed 004.
Error failure_of(const Json& task, TaskStatus status) {
  const JsonObject* fields = task.if_object();
  for (const std::string_view name : {"error_info", "error"}) {
    const Json* error = fields != nullptr ? fields->if_contains(name) : nullptr;
    if (error != nullptr && error->is_object()) return Error::from_json(error->get_object());
  }
  const std::string message = field(task, "error");
  if (status == TaskStatus::cancelled) return Error(ErrorCode::cancelled, "the call was cancelled");
  return Error(ErrorCode::app_error, message.empty() ? "the call failed" : message);
}

// What the app or its program said last, which tells its author where to look.
std::string last_words(const Error& error) {
  const Json details(error.details());
  std::string words = field(details, "traceback");
  if (words.empty()) words = field(details, "stderr");
  if (!words.empty() && !words.ends_with('\n')) words += '\n';
  return words;
}

// Where to go on: on standard error, so that standard output holds the output alone.
void note(const Json& task, Console& console) {
  std::string line;
  if (const std::string session = field(task, "session_id"); !session.empty()) line += "session " + session + "  ";
  line += "task " + field(task, "id");
  console.err << printable(line) << '\n';
}

}  // namespace

ExitCode run_app(const RunOptions& options, const Settings& settings, Console& console) {
  const JsonObject request = request_of(options, console);
  const Json task = Remote(settings).post("/apps/run", request).body;
  const TaskStatus status = status_of(task);
  const bool failed = status == TaskStatus::failed || status == TaskStatus::cancelled;
  if (console.json) {
    print_json(console, task);
    return failed ? ExitCode::failed : ExitCode::ok;
  }
  note(task, console);
  if (failed) {
    const Error error = failure_of(task, status);
    console.err << printable(last_words(error), true);
    return report(console, error);
  }
  if (status == TaskStatus::completed) {
    const JsonObject* fields = task.if_object();
    const Json* output = fields != nullptr ? fields->if_contains("output") : nullptr;
    print_json(console, output != nullptr ? *output : Json(nullptr));
  } else {
    console.out << store::to_string(status) << '\n';
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
