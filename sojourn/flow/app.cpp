#include "sojourn/flow/app.hpp"

#include <algorithm>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "sojourn/base/task_group.hpp"
#include "sojourn/flow/run_progress.hpp"

namespace sojourn::flow {

namespace asio = boost::asio;

namespace {

// Between two looks at how far a run is: a sixteenth of what it has taken, within these.
constexpr Instant::duration shortest_look = Milliseconds(250);
constexpr Instant::duration longest_look = Seconds(30);

// Where the broadcasts of the running call go. Shared with what is posted to the session's executor, which may come
// when the call is over.
struct Sink {
  session::CallScope* scope = nullptr;
};

class FlowWorker final : public session::Worker {
 public:
  FlowWorker(Executor executor, Strategy& strategy, const std::vector<Function>& functions, Settings settings)
      : executor_(std::move(executor)), strategy_(strategy), functions_(functions), settings_(std::move(settings)) {}

  Async<Json> call(session::CallScope& scope) override {
    const session::CallRequest& request = scope.request();
    const auto function = std::ranges::find(functions_, request.function, &Function::name);
    if (function == functions_.end()) {
      throw Error(ErrorCode::function_not_found, "the flow has no function \"" + request.function + "\"");
    }
    // Before there was a run to cancel.
    if (scope.cancel_requested()) throw Error(ErrorCode::cancelled, "the call was cancelled");
    const auto sink = std::make_shared<Sink>(&scope);
    Session run(strategy_, settings_for(scope, sink));
    run_ = &run;
    TaskGroup telling(executor_);
    Completion<bool> over;
    telling.spawn(tell_progress(scope, run, over));
    std::exception_ptr failure;
    Json output;
    try {
      output = co_await (*function)(run, request.input);
    } catch (...) {
      failure = std::current_exception();
    }
    run_ = nullptr;
    over.set(true);
    // It works on this frame, so nothing may end it before.
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await telling.join();
    co_await run.close();
    // What was broadcast was posted before this.
    co_await asio::post(executor_, asio::use_awaitable);
    sink->scope = nullptr;
    scope.record("flow.run", told_run(request, run.info().graph));
    if (!failure) co_return output;
    // What a call that fails has recorded since its last checkpoint is dropped.
    try {
      co_await scope.checkpoint();
    } catch (const std::exception& error) {
      scope.log(LogLevel::warning, "the journal could not be told of a flow that failed",
                {{"error", to_valid_utf8(error.what())}});
    }
    throw error_of(failure);
  }

  void cancel() override {
    if (run_ != nullptr) run_->cancel();
  }
  void kill(const Error&) override { cancel(); }
  Async<void> close(session::CloseReason, Instant) override { co_return; }

 private:
  // Tells the journal how far the run is, so that it shows while it runs, and after the process was killed.
  Async<void> tell_progress(session::CallScope& scope, const Session& run, Completion<bool>& over) {
    RunProgress progress(scope.request());
    const Instant began = clock_.instant();
    std::optional<Error> failed;
    while (!failed) {
      const Instant now = clock_.instant();
      const Instant next = now + std::clamp((now - began) / 16, shortest_look, longest_look);
      if (co_await over.wait_until(clock_, next)) co_return;
      const std::optional<JsonObject> changed = progress.changed(run.beginning(told_calls), run.size());
      if (!changed) continue;
      try {
        scope.record("flow.progress", *changed);
        co_await scope.checkpoint();
      } catch (const Error& error) {
        failed = error;
      }
    }
    scope.log(LogLevel::warning, "the journal could not be told how far a flow is", {{"error", failed->message()}});
  }

  Settings settings_for(session::CallScope& scope, const std::shared_ptr<Sink>& sink) const {
    Settings settings = settings_;
    for (const auto& [key, value] : scope.session().context()) settings.context[key] = value;
    const auto left = std::chrono::duration_cast<Milliseconds>(scope.request().deadline - clock_.instant());
    settings.timeout = std::max(Milliseconds(1), std::min(settings.timeout.value_or(left), left));
    settings.broadcast_callback = [executor = executor_, sink](const Json& item) {
      asio::post(executor, [sink, item] {
        if (sink->scope != nullptr) sink->scope->emit(item);
      });
    };
    return settings;
  }

  Executor executor_;
  SystemClock clock_;
  Strategy& strategy_;
  const std::vector<Function>& functions_;
  Settings settings_;
  Session* run_ = nullptr;  // while a call runs
};

class FlowApp final : public session::App {
 public:
  FlowApp(session::AppInfo info, Strategy& strategy, std::vector<Function> functions, Settings settings)
      : info_(std::move(info)),
        strategy_(strategy),
        functions_(std::move(functions)),
        settings_(std::move(settings)) {
    if (functions_.empty()) throw Error(ErrorCode::invalid_request, "a flow's app needs a function");
    info_.functions.clear();
    for (const Function& function : functions_) info_.functions.push_back(function.name());
    info_.default_function = functions_.front().name();
    if (!settings_.save_state) settings_.save_state = false;
    if (!settings_.logging_setting) settings_.logging_setting = LoggingSetting::none;
  }

  const session::AppInfo& info() const override { return info_; }

  Async<std::unique_ptr<session::Worker>> open(session::Opening, Instant) override {
    co_return std::make_unique<FlowWorker>(co_await asio::this_coro::executor, strategy_, functions_, settings_);
  }

 private:
  session::AppInfo info_;
  Strategy& strategy_;
  std::vector<Function> functions_;
  Settings settings_;
};

}  // namespace

std::unique_ptr<session::App> app(session::AppInfo info, Strategy& strategy, std::vector<Function> functions,
                                  Settings settings) {
  return std::make_unique<FlowApp>(std::move(info), strategy, std::move(functions), std::move(settings));
}

}  // namespace sojourn::flow
