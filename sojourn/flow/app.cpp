#include "sojourn/flow/app.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "sojourn/base/limits.hpp"

namespace sojourn::flow {

namespace asio = boost::asio;

namespace {

constexpr std::size_t told_calls = 1'000;
constexpr std::size_t told_bytes = 192 * limits::kibibyte;  // with the rest of an event, within limits::event_bytes

std::string beginning_of(const std::string& text, std::size_t bytes) {
  return to_valid_utf8(std::string_view(text).substr(0, bytes));
}

JsonObject told(const CallRecord& call, Time start) {
  JsonObject json{{"call", call.id},
                  {"caller", call.caller ? Json(*call.caller) : Json()},
                  {"node", beginning_of(call.node->name, 100)},
                  {"status", to_string(call.status())},
                  {"start_us", (call.created.time - start).count()},
                  {"us", std::chrono::duration_cast<Microseconds>(call.duration).count()}};
  if (call.failure) json["error"] = beginning_of(call.failure->message, 200);
  return json;
}

// What the journal is told of a run.
JsonObject told(const session::CallRequest& request, const Graph& graph) {
  const auto start = graph.empty() ? Time() : graph.calls().front().created.time;
  JsonArray calls;
  std::size_t bytes = 0;
  for (const CallRecord& call : graph.calls().first(std::min(told_calls, graph.calls().size()))) {
    JsonObject json = told(call, start);
    bytes += to_text(json).size() + 1;
    if (bytes > told_bytes) break;
    calls.push_back(std::move(json));
  }
  const std::size_t left_out = graph.calls().size() - calls.size();
  return {{"task", request.task_id},
          {"function", request.function},
          {"start", format_time(start)},
          {"calls", std::move(calls)},
          {"left_out", left_out}};
}

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
    const auto sink = std::make_shared<Sink>(&scope);
    Session run(strategy_, settings_for(scope, sink));
    run_ = &run;
    std::exception_ptr failure;
    Json output;
    try {
      output = co_await (*function)(run, request.input);
    } catch (...) {
      failure = std::current_exception();
    }
    run_ = nullptr;
    co_await run.close();
    // What was broadcast was posted before this.
    co_await asio::post(executor_, asio::use_awaitable);
    sink->scope = nullptr;
    scope.record("flow.run", told(request, run.info().graph));
    if (!failure) co_return output;
    // What a call that fails has recorded since its last checkpoint is dropped.
    try {
      co_await scope.checkpoint();
    } catch (const std::exception& error) {
      scope.log(LogLevel::warning, "the journal could not be told of a flow that failed",
                {{"error", to_valid_utf8(error.what())}});
    }
    std::rethrow_exception(as_error(failure));
  }

  void cancel() override {
    if (run_ != nullptr) run_->cancel();
  }
  void kill(const Error&) override { cancel(); }
  Async<void> close(session::CloseReason, Instant) override { co_return; }

 private:
  Settings settings_for(session::CallScope& scope, const std::shared_ptr<Sink>& sink) const {
    Settings settings = settings_;
    for (const auto& [key, value] : scope.session().context()) settings.context[key] = value;
    const auto left = std::chrono::duration_cast<Milliseconds>(scope.request().deadline - SystemClock().instant());
    settings.timeout = std::max(Milliseconds(1), std::min(settings.timeout.value_or(left), left));
    settings.broadcast_callback = [executor = executor_, sink](const Json& item) {
      asio::post(executor, [sink, item] {
        if (sink->scope != nullptr) sink->scope->emit(item);
      });
    };
    return settings;
  }

  // What the runtime shows of a node's own exception.
  static std::exception_ptr as_error(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const Error&) {
      return failure;
    } catch (...) {
      const Failure known = failure_of(failure);
      return std::make_exception_ptr(Error(ErrorCode::app_error, known.message, {{"type", known.type}}));
    }
  }

  Executor executor_;
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
