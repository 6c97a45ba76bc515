#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <ostream>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/cli/input.hpp"
#include "sojourn/steps/info.hpp"
#include "sojourn/steps/step_error.hpp"
#include "sojourn/worker/process_app.hpp"

namespace sojourn::cli {

namespace {

namespace fs = std::filesystem;

constexpr auto start_time = Seconds(30);
constexpr auto close_time = Seconds(10);
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
    }
    return failed == 0 ? ExitCode::ok : ExitCode::failed;
  }

 private:
  struct Check {
    std::string name;
    bool passed;
    std::string message;
  };

  JsonObject to_json(std::int64_t failed) const {
    JsonArray checks;
    for (const Check& check : checks_) {
      checks.push_back(
          JsonObject{{"name", check.name}, {"result", check.passed ? "PASS" : "FAIL"}, {"message", check.message}});
    }
    const JsonObject summary{{"status", failed == 0 ? "PASS" : "FAIL"},
                             {"passed", static_cast<std::int64_t>(checks_.size()) - failed},
                             {"failed", failed}};
    return {{"summary", summary}, {"checks", std::move(checks)}};
  }

  std::vector<Check> checks_;
};

// A session that keeps nothing: what an app says to it is taken and forgotten, but for what it prints.
class DrySession final : public session::WorkerEvents {
 public:
  void log(LogLevel, std::string_view stream, std::string_view message, JsonObject) override {
    if (stream == "stdout" && !printed) printed = std::string(message);
  }
  void resource_added(session::ResourceNote resource) override {
    if (resource.recorded) resource.recorded->set(true);
  }
  void resource_released(std::string_view) override {}
  void lost(Error cause) override { loss = std::move(cause); }

  session::Session session{"check"};
  std::optional<std::string> printed;  // the first line on standard output
  std::optional<Error> loss;
};

class DryCall final : public session::CallScope {
 public:
  DryCall(session::Session& session, session::CallRequest request)
      : session_(session), request_(std::move(request)) {}

  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json) override {}
  void emit_delta(Json) override {}
  void log(LogLevel, std::string_view, JsonObject) override {}
  void record(std::string, JsonObject) override {}
  Async<void> checkpoint() override {
    session_.state().accept();
    co_return;
  }
  void end_session() override {}
  Async<Json> call_app(std::string app, std::string, Json) override {
    throw Error(ErrorCode::app_not_found, fmt::format("there is no app {} in a dry run", app));
    co_return nullptr;
  }
  bool cancel_requested() const override { return false; }
  Async<void> cancel_wait() override { co_await never_.wait(); }

 private:
  session::Session& session_;
  session::CallRequest request_;
  Event never_;
};

// A folder for the session, which goes with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (fs::temp_directory_path() / "sojourn-check-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw io_error(name, errno);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;  // what cannot be removed lies among other temporary files
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

class AppCheck {
 public:
  AppCheck(worker::Manifest manifest, std::string function, std::optional<Json> input, Report& report, Loop& loop)
      : manifest_(std::move(manifest)),
        function_(function.empty() ? manifest_.info.default_function : std::move(function)),
        input_(std::move(input)),
        report_(report),
        executor_(loop.executor()),
        supervisor_(executor_, clock_, log_) {}

  Async<void> run() {
    worker::ProcessApp app(manifest_, supervisor_, isolation_, clock_, log_);
    std::exception_ptr failure;
    try {
      co_await try_app(app);
    } catch (...) {
      failure = std::current_exception();
    }
    co_await app.close();
    co_await supervisor_.close();
    if (failure) std::rethrow_exception(failure);
  }

 private:
  Async<void> try_app(worker::ProcessApp& app) {
    std::unique_ptr<session::Worker> worker;
    std::string failed;
    try {
      worker = co_await app.open({.session_id = dry_.session.id(), .folder = folder_.path(), .events = &dry_},
                                 clock_.instant() + start_time);
    } catch (const Error& error) {
      failed = error.message();
    }
    if (!worker) {
      report_.fail("start", failed);
      co_return;
    }
    report_.pass("start", "ready");
    if (offers("info") && offers("execute")) co_await check_info(*worker);
    if (input_) co_await check_call(*worker);
    co_await check_close(*worker);
    if (dry_.printed) {
      report_.fail("output", "it printed on standard output: " + cut(*dry_.printed));
    } else {
      report_.pass("output", "nothing on standard output");
    }
  }

  bool offers(std::string_view function) const {
    return std::ranges::find(manifest_.info.functions, function) != manifest_.info.functions.end();
  }

  Async<Json> call(session::Worker& worker, std::string function, Json input) {
    const Instant deadline = clock_.instant() + manifest_.info.call_timeout;
    const auto alarm = clock_.set_alarm(deadline, executor_, [&worker] {
      worker.kill(Error(ErrorCode::call_timeout, "the call took longer than its call_timeout"));
    });
    DryCall scope(dry_.session, {.task_id = "check",
                                 .function = std::move(function),
                                 .input = std::move(input),
                                 .outside_changes = {},
                                 .deadline = deadline});
    Json output = co_await worker.call(scope);
    dry_.session.state().accept();
    co_return output;
  }

  Async<void> check_info(session::Worker& worker) {
    try {
      const Json output = co_await call(worker, "info", nullptr);
      if (!output.is_object()) throw steps::StepError(steps::StepCode::invalid_result, "get_info: must be an object");
      const steps::Info info = steps::Info::from_json(output.get_object());
      report_.pass("info", fmt::format("{} {}, {} steps", info.name, info.version, info.steps.size()));
    } catch (const std::exception& error) {
      report_.fail("info", error.what());
    }
  }

  Async<void> check_call(session::Worker& worker) {
    try {
      report_.pass("call", cut(to_text(co_await call(worker, function_, std::move(*input_)))));
    } catch (const Error& error) {
      report_.fail("call", error.message());
    }
  }

  Async<void> check_close(session::Worker& worker) {
    std::string failed = dry_.loss ? dry_.loss->message() : "";
    try {
      co_await worker.close(session::CloseReason::ended, clock_.instant() + close_time);
    } catch (const Error& error) {
      failed = error.message();
    }
    if (failed.empty()) {
      report_.pass("close", "closed");
    } else {
      report_.fail("close", failed);
    }
  }

  worker::Manifest manifest_;
  std::string function_;
  std::optional<Json> input_;
  Report& report_;
  Executor executor_;
  SystemClock clock_;
  Log log_ = Log::silent();
  worker::Isolation isolation_;
  worker::Supervisor supervisor_;
  ScratchFolder folder_;
  DrySession dry_;
};

}  // namespace

ExitCode check_app(const CheckOptions& options, const Settings&, Console& console) {
  std::optional<Json> input;
  if (!options.input.empty()) input = input_of(options.input, console);
  Report report;
  std::optional<worker::Manifest> manifest;
  try {
    manifest = worker::read_manifest(options.folder);
    report.pass("manifest", fmt::format("{} {}", manifest->info.name, manifest->info.version));
  } catch (const Error& error) {
    report.fail("manifest", error.message());
  }
  if (manifest) {
    Loop loop;
    AppCheck check(std::move(*manifest), options.function, std::move(input), report, loop);
    loop.run(check.run());
  }
  return report.print(console);
}

}  // namespace sojourn::cli
