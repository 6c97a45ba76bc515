#include <fmt/format.h>

#include <ostream>

#include "sojourn/base/limits.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/input.hpp"
#include "sojourn/cli/remote.hpp"

namespace sojourn::cli {

namespace {

JsonObject request_of(const RunOptions& options, Console& console) {
  const bool waits = !options.no_wait && options.run_at.empty();
  JsonObject request{{"app", options.app}, {"input", input_of(options.input, console)}, {"wait", waits}};
  if (!options.function.empty()) request["function"] = options.function;
  if (!options.session.empty()) request["session"] = options.session;
  if (options.session_timeout) request["session_timeout"] = *options.session_timeout;
  if (!options.run_at.empty()) request["run_at"] = options.run_at;
  if (!options.webhook.empty()) request["webhook"] = options.webhook;
  return request;
}

// Where to go on: on standard error, so that standard output holds the output alone.
void note(const client::Task& task, Console& console) {
  std::string line;
  if (const std::string session = task.session_id(); !session.empty()) line += "session " + session + "  ";
  line += "task " + task.id();
  console.err << printable(line) << '\n';
}

}  // namespace

ExitCode run_app(const RunOptions& options, const Settings& settings, Console& console) {
  const client::Question question{
      .method = http::Method::post, .target = "/apps/run", .body = to_text(request_of(options, console))};
  const Json answer = Remote(settings).with([&](client::Client& client) { return client.ask(question); }).value;
  const client::Task task(answer.is_object() ? answer.get_object() : JsonObject());
  const std::optional<Error> failure = task.failure();
  if (console.json) {
    print_json(console, answer);
    return failure ? ExitCode::failed : ExitCode::ok;
  }
  note(task, console);
  if (failure) {
    console.err << printable(last_words(*failure), true);
    return report(console, *failure);
  }
  if (task.is_completed()) {
    print_json(console, task.output());
  } else {
    console.out << printable(task.status()) << '\n';
  }
  return ExitCode::ok;
}

}  // namespace sojourn::cli
