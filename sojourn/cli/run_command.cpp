#include <fmt/format.h>

#include <exception>
#include <optional>
#include <ostream>

#include "sojourn/base/limits.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/input.hpp"
#include "sojourn/cli/interruption.hpp"
#include "sojourn/cli/remote.hpp"

namespace sojourn::cli {

namespace {

bool waits(const RunOptions& options) {
  return !options.no_wait && options.run_at.empty();
}

JsonObject request_of(const RunOptions& options, Console& console) {
  JsonObject request{{"app", options.app}, {"input", input_of(options.input, console)}, {"wait", waits(options)}};
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

client::Question question_of(const JsonObject& request, const std::string& key) {
  client::Question question{.method = http::Method::post, .target = "/apps/run", .body = to_text(request)};
  if (!key.empty()) question.headers.add("Idempotency-Key", key);
  return question;
}

// Finds the call again by its key, and says what becomes of it.
void tell_where_it_goes_on(JsonObject request, const std::string& key, const Settings& settings, Console& console) {
  const std::string mark = "\n" + paint(console, Colour::yellow, "sojourn:");
  try {
    request["wait"] = false;
    const client::Question question = question_of(request, key);
    const Json answer = Remote(settings).with([&](client::Client& client) { return client.ask(question); }).value;
    const client::Task task(answer.as_object());
    const std::string url = fmt::format("{}/tasks/{}", settings.url, task.id());
    const std::string curl =
        settings.api_key.empty() ? "curl -s" : "curl -s -H \"Authorization: Bearer $SOJOURN_API_KEY\"";
    const std::string where =
        task.is_over()
            ? fmt::format("is over\n         See it: {} {}", curl, url)
            : fmt::format("goes on\n         Follow it: {} {}/stream\n         Stop it: {} -X POST {}/cancel", curl,
                          url, curl, url);
    console.err << mark
                << printable(fmt::format(" task {} of session {} {}\n", task.id(), task.session_id(), where), true);
  } catch (const std::exception& error) {
    console.err << mark << printable(fmt::format(" whether the call goes on is not known: {}\n", error.what()), true);
  }
  console.err.flush();
}

}  // namespace

ExitCode run_app(const RunOptions& options, const Settings& settings, Console& console) {
  const JsonObject request = request_of(options, console);
  // By it a call that is waited for is found again where the waiting is interrupted.
  const std::string key = waits(options) ? "cli-" + SystemRandom().hex(16) : "";
  std::optional<Interruption> interruption;
  if (waits(options)) {
    interruption.emplace([&] { tell_where_it_goes_on(request, key, settings, console); });
  }
  const client::Question question = question_of(request, key);
  const Json answer = Remote(settings).with([&](client::Client& client) { return client.ask(question); }).value;
  interruption.reset();
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
