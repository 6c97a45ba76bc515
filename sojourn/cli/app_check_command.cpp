#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <ostream>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/cli/app_archive.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/dry_run.hpp"
#include "sojourn/cli/input.hpp"
#include "sojourn/steps/info.hpp"
#include "sojourn/steps/step_error.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t shown_bytes = 200;  // of an output or a line

std::string cut(const std::string& text) {
  return text.size() <= shown_bytes ? text : to_valid_utf8(text.substr(0, shown_bytes)) + "...";
}

// What was tried, and how it went.
class Report {
 public:
  void pass(std::string name, std::string message) { checks_.push_back({std::move(name), true, std::move(message)}); }
  void fail(std::string name, std::string message) {
    checks_.push_back({std::move(name), false, std::move(message)});
  }
  void fail(std::string name, const Error& error) {
    fail(std::move(name), error.message());
    checks_.back().last_words = last_words(error);
  }

  ExitCode print(Console& console) const {
    const auto failed = std::ranges::count(checks_, false, &Check::passed);
    if (console.json) {
      print_json(console, to_json(failed));
    } else {
      Table table({"", "", ""});
      for (const Check& check : checks_) {
        table.add({{check.passed ? "PASS" : "FAIL", check.passed ? Colour::green : Colour::red},
                   {check.name},
                   {printable(check.message)}});
      }
      table.print(console);
      console.out.flush();
      for (const Check& check : checks_) console.err << printable(check.last_words, true);
    }
    return failed == 0 ? ExitCode::ok : ExitCode::failed;
  }

 private:
  struct Check {
    std::string name;
    bool passed;
    std::string message;
    std::string last_words{};  // of a program that failed, where it said some
  };

  JsonObject to_json(std::int64_t failed) const {
    JsonArray checks;
    for (const Check& check : checks_) {
      JsonObject told{{"name", check.name}, {"result", check.passed ? "PASS" : "FAIL"}, {"message", check.message}};
      if (!check.last_words.empty()) told["last_words"] = check.last_words;
      checks.push_back(std::move(told));
    }
    const JsonObject summary{{"status", failed == 0 ? "PASS" : "FAIL"},
                             {"passed", static_cast<std::int64_t>(checks_.size()) - failed},
                             {"failed", failed}};
    return {{"summary", summary}, {"checks", std::move(checks)}};
  }

  std::vector<Check> checks_;
};

class AppCheck {
 public:
  AppCheck(worker::Manifest manifest, std::string function, std::optional<Json> input, Report& report, Loop& loop)
      : run_(std::move(manifest), loop.executor()),
        function_(function.empty() ? run_.info().default_function : function),
        input_(std::move(input)),
        report_(report) {}

  Async<void> run() {
    std::exception_ptr failure;
    try {
      co_await try_app();
    } catch (...) {
      failure = std::current_exception();
    }
    co_await run_.end();
    if (failure) std::rethrow_exception(failure);
    if (!run_.leaked().empty()) report_.fail("clean-up", cut(fmt::format("{}", fmt::join(run_.leaked(), "; "))));
  }

 private:
  Async<void> try_app() {
    try {
      co_await run_.open();
    } catch (const Error& error) {
      report_.fail("start", error);
      co_return;
    }
    report_.pass("start", "ready");
    if (run_.offers("info") && run_.offers("execute")) co_await check_info();
    if (input_) co_await check_call();
    co_await check_close();
    if (run_.printed()) {
      report_.fail("output", "it printed on standard output: " + cut(*run_.printed()));
    } else {
      report_.pass("output", "nothing on standard output");
    }
  }

  Async<void> check_info() {
    try {
      const Json output = co_await run_.call("info", nullptr);
      if (!output.is_object()) throw steps::StepError(steps::StepCode::invalid_result, "get_info: must be an object");
      const steps::Info info = steps::Info::from_json(output.get_object());
      report_.pass("info", fmt::format("{} {}, {} steps", info.name, info.version, info.steps.size()));
    } catch (const std::exception& error) {
      report_.fail("info", error.what());
    }
  }

  Async<void> check_call() {
    try {
      report_.pass("call", cut(to_text(co_await run_.call(function_, std::move(*input_)))));
    } catch (const Error& error) {
      report_.fail("call", error);
    }
  }

  Async<void> check_close() {
    try {
      co_await run_.close();
      report_.pass("close", "closed");
    } catch (const Error& error) {
      report_.fail("close", error.message());
    }
  }

  DryRun run_;
  std::string function_;
  std::optional<Json> input_;
  Report& report_;
};

// Whether what was packed is what is there; says nothing of an app that was not.
void check_files(const AppFolder& app, Report& report) {
  try {
    const std::optional<PackedApp> packed = find_packed(app.path());
    if (!packed) return;
    const std::vector<std::string> wrong = differences(app.path(), *packed);
    if (wrong.empty()) {
      report.pass("files", fmt::format("{} files as they were packed", packed->files.size()));
    } else {
      report.fail("files", cut(fmt::format("{}", fmt::join(wrong, "; "))));
    }
  } catch (const Error& error) {
    report.fail("files", error.message());
  }
}

}  // namespace

ExitCode check_app(const CheckOptions& options, const Settings&, Console& console) {
  std::optional<Json> input;
  if (!options.input.empty()) input = input_of(options.input, console);
  Report report;
  std::optional<AppFolder> app;
  std::optional<worker::Manifest> manifest;
  try {
    app.emplace(options.folder);
    manifest = worker::read_manifest(app->path());
    report.pass("manifest", fmt::format("{} {}", manifest->info.name, manifest->info.version));
  } catch (const Error& error) {
    report.fail(app ? "manifest" : "archive", error.message());
  }
  if (manifest) {
    check_files(*app, report);
    Loop loop;
    AppCheck check(std::move(*manifest), options.function, std::move(input), report, loop);
    loop.run(check.run());
  }
  return report.print(console);
}

}  // namespace sojourn::cli
