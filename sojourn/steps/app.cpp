#include "sojourn/steps/app.hpp"

#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <cstdio>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/loop.hpp"
#include "sojourn/steps/detection.hpp"
#include "sojourn/steps/session_images.hpp"
#include "sojourn/steps/step_input.hpp"

namespace sojourn::steps {

namespace {

// How a step's failure is told to who called it.
Error to_call_error(const Result& failed, std::optional<int> step_index) {
  const auto code = find_step_code(failed.error_code);
  JsonObject details{{"error_code", failed.error_code}, {"recoverable", !failed.is_fatal()}};
  if (code) details["error"] = info(*code).name;
  if (step_index) details["step_index"] = *step_index;
  return {ErrorCode::app_error, failed.message, std::move(details)};
}

// Takes what the algorithm says on its thread to the session's.
class PostingRecorder final : public Recorder {
 public:
  PostingRecorder(Executor executor, session::WorkerEvents& events)
      : executor_(std::move(executor)), events_(events) {}

  // The call that runs, or null. Threads: that of the session.
  void serve(session::CallScope* scope) {
    scope_ = scope;
    records_.clear();  // of a call that did not come to its end
  }

  // Takes the records of the steps that have ended. Threads: that of the session, while the algorithm rests.
  void take_records() {
    for (JsonObject& record : std::exchange(records_, {})) {
      try {
        if (scope_ != nullptr) scope_->record("algorithm.step", std::move(record));
      } catch (const Error& refused) {
        tell(LogLevel::error, "the record of a step was refused: " + refused.message(), {});
      }
    }
  }

  void log(LogLevel level, std::string_view message, JsonObject fields) override {
    boost::asio::post(executor_, [this, level, text = std::string(message), fields = std::move(fields)]() mutable {
      tell(level, text, std::move(fields));
    });
  }

  // It goes along with the step's result, so nobody need be woken for it.
  void step_finished(JsonObject record) override { records_.push_back(std::move(record)); }

 private:
  // Nobody could catch what it throws, and the session would end with it.
  void tell(LogLevel level, std::string_view text, JsonObject fields) {
    try {
      if (scope_ != nullptr) {
        scope_->log(level, text, std::move(fields));
      } else {
        events_.log(level, "app", text, std::move(fields));
      }
    } catch (const Error& refused) {
      fmt::print(stderr, "a log line was refused: {}\n", refused.message());
    }
  }

  Executor executor_;
  session::WorkerEvents& events_;
  session::CallScope* scope_ = nullptr;
  std::vector<JsonObject> records_;  // of the algorithm's thread, until it rests
};

// Order: what the algorithm posts to the loop runs before the coroutine that waits for the algorithm goes on.
class AlgorithmWorker final : public session::Worker {
 public:
  AlgorithmWorker(Executor executor, session::WorkerEvents& events)
      : recorder_(std::move(executor), events), images_(events) {}

  Async<void> set_up(AlgorithmFactory factory) {
    co_await thread_.run([&] { runner_.emplace(std::move(factory), recorder_, clock_, served); });
  }

  Async<Json> call(session::CallScope& scope) override {
    recorder_.serve(&scope);
    std::exception_ptr failure;
    Json output;
    try {
      output = co_await answer(scope);
    } catch (const StepError& error) {
      failure = std::make_exception_ptr(to_call_error(Result::error(error), std::nullopt));
    } catch (...) {
      failure = std::current_exception();
    }
    recorder_.serve(nullptr);
    if (failure) std::rethrow_exception(failure);
    co_return output;
  }

  Async<void> close(session::CloseReason, Instant) override {
    std::exception_ptr failure;
    try {
      co_await thread_.run([&] { runner_->close(); });
    } catch (...) {
      failure = std::current_exception();
    }
    images_.release_all();
    if (failure) std::rethrow_exception(failure);
  }

  void kill(const Error&) override {}  // no thread can be ended; its process is

 private:
  static constexpr RunnerOptions served{.keeps_state = false};

  Async<Json> answer(session::CallScope& scope) {
    const std::string& function = scope.request().function;
    if (function == "info") co_return runner_->info().to_json();
    if (function == "detect") co_return co_await detect(scope);
    if (function == "reset") {
      co_await thread_.run([&] { runner_->reset(scope.session()); });
      images_.release_all();
      co_return nullptr;
    }
    const auto step = function == "pre_execute" ? &StepRunner::pre_execute : &StepRunner::execute;
    const StepInput input = step_input(scope.request().input);
    co_await images_.take(input.shared_mem_id);
    const Outcome outcome = co_await thread_.run([&] { return ((*runner_).*step)(scope.session(), input); });
    recorder_.take_records();
    if (!outcome.result.ok) throw to_call_error(outcome.result, outcome.step_index);
    co_return outcome.to_json();
  }

  Async<Json> detect(session::CallScope& scope) {
    DetectionInput input = detection_input(scope.request().input);
    // Its pictures may be those of the last one.
    std::set<std::string> used;
    for (const StepInput& step : input.steps) {
      co_await images_.take(step.shared_mem_id);
      used.insert(step.shared_mem_id);
    }
    images_.release_all_but(used);
    std::optional<Detection> detection;
    co_await thread_.run([&] { detection.emplace(*runner_, scope.session(), std::move(input)); });
    while (!detection->done()) {
      if (scope.cancel_requested())
        throw Error(ErrorCode::cancelled, "the detection was cancelled between two steps");
      co_await thread_.run([&] { detection->run_step(); });
      recorder_.take_records();
      if (detection->done()) break;
      co_await scope.checkpoint();
      scope.emit(detection->outcome());
    }
    if (const Outcome* failed = detection->failure()) throw to_call_error(failed->result, failed->step_index);
    co_return detection->outcome();
  }

  SystemClock clock_;
  PostingRecorder recorder_;
  SessionImages images_;
  std::optional<StepRunner> runner_;
  BlockingPool thread_{1};  // the last member: it ends before what it works on
};

class AlgorithmApp final : public session::App {
 public:
  explicit AlgorithmApp(AlgorithmFactory factory) : factory_(std::move(factory)) {
    const Info declared = Info::from_json(factory_()->get_info().to_json());
    info_.name = declared.name;
    info_.version = declared.version;
    info_.description = declared.description;
    info_.functions = {"info", "pre_execute", "execute", "reset", "detect"};
    info_.default_function = "detect";
    info_.recover = true;
  }

  const session::AppInfo& info() const override { return info_; }

  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant) override {
    auto worker = std::make_unique<AlgorithmWorker>(co_await boost::asio::this_coro::executor, *opening.events);
    std::optional<StepError> failed;
    try {
      co_await worker->set_up(factory_);
    } catch (const StepError& error) {
      failed = error;
    }
    if (failed) throw to_call_error(Result::error(*failed), std::nullopt);
    co_return worker;
  }

 private:
  AlgorithmFactory factory_;
  session::AppInfo info_;
};

}  // namespace

std::unique_ptr<session::App> app(AlgorithmFactory factory) {
  return std::make_unique<AlgorithmApp>(std::move(factory));
}

}  // namespace sojourn::steps
