#pragma once

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sojourn/base/loop.hpp"
#include "sojourn/runtime/guarded_store_test.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/memory_store.hpp"

// A runtime on a memory store and a clock turned by hand, with an app whose every move the tests decide.
namespace sojourn::runtime {

// What the workers of a TestApp did and are told to do.
struct Script {
  std::vector<std::string> log;      // "open SESSION", "call FUNCTION", "close REASON", "kill"
  std::optional<Error> open_error;   // what opening fails with
  std::optional<Error> close_error;  // what closing fails with
  bool hold_open = false;            // opening takes until `release`
  bool hold_close = false;           // closing too
  Event release;                     // lets a `wait` call go on
  session::WorkerUsage usage;        // what a worker tells when it was closed
  bool acts_on_end = false;
  int misses = 0;                                // so many calls find their worker gone
  std::function<Json(session::CallScope&)> act;  // what an `act` call does
  int running = 0;                               // calls that run now
  int most_running = 0;
  session::WorkerEvents* events = nullptr;          // of the worker opened last
  bool restored = false;                            // of the worker opened last
  std::vector<store::StateChange> outside_changes;  // of the call that came last
};

class TestWorker final : public session::Worker {
 public:
  explicit TestWorker(Script& script) : script_(script) {}

  Async<Json> call(session::CallScope& scope) override {
    ++script_.running;
    script_.most_running = std::max(script_.most_running, script_.running);
    script_.log.push_back("call " + scope.request().function);
    script_.outside_changes = scope.request().outside_changes;
    std::exception_ptr failure;
    Json output;
    try {
      output = co_await answer(scope);
    } catch (...) {
      failure = std::current_exception();
    }
    --script_.running;
    if (failure) std::rethrow_exception(failure);
    co_return output;
  }

  Async<void> close(session::CloseReason reason, Instant) override {
    script_.log.push_back("close " + std::string(session::to_string(reason)));
    if (script_.hold_close) co_await script_.release.wait();
    if (script_.close_error) throw Error(*script_.close_error);
    co_return;
  }

  void kill(const Error& cause) override {
    script_.log.push_back("kill");
    killed_ = cause;
    script_.release.notify_all();
  }

  session::WorkerUsage usage() const override { return script_.usage; }

  JsonObject describe() const override { return {{"pid", 7}}; }

 private:
  Async<Json> answer(session::CallScope& scope) {
    session::State& state = scope.session().state();
    const std::string& function = scope.request().function;
    if (script_.misses > 0) {
      --script_.misses;
      throw session::unreached(Error(ErrorCode::worker_lost, "the worker was gone"));
    }
    if (function == "increment") {
      const std::int64_t next = state.get("count", 0).to_number<std::int64_t>() + 1;
      state.set("count", next);
      co_return next;
    }
    if (function == "remember") co_return ++memory_;
    if (function == "fail") {
      state.set("count", -1);
      scope.record("half.done", {});
      throw Error(ErrorCode::app_error, "ValueError: no");
    }
    if (function == "checkpoint_then_fail") {
      state.set("kept", true);
      co_await scope.checkpoint();
      state.set("dropped", true);
      throw Error(ErrorCode::app_error, "after the checkpoint");
    }
    if (function == "wait") {
      co_await script_.release.wait();
      if (killed_) throw Error(*killed_);
      co_return "released";
    }
    if (function == "wait_for_cancel") {
      co_await scope.cancel_wait();
      throw Error(ErrorCode::app_error, "stopped as asked");
    }
    if (function == "emit") {
      scope.emit(JsonObject{{"progress", 1}});
      scope.emit_delta("abc");
      co_await script_.release.wait();
      co_return JsonObject{{"progress", 2}};
    }
    if (function == "miss") co_return "reached";
    if (function == "act") co_return script_.act(scope);
    if (function == "die") throw Error(ErrorCode::worker_lost, "the worker was killed by SIGKILL");
    if (function == "throw_bytes") throw std::runtime_error("no UTF-8: \xff");
    if (function == "change_and_wait") {
      state.set("count", 99);
      co_await script_.release.wait();
      co_return "late";
    }
    if (function == "end") scope.end_session();
    if (function == "read") co_return state.to_json();
    if (function == "delegate") co_return co_await scope.call_app("helper", "increment", nullptr);
    co_return scope.request().input;
  }

  Script& script_;
  int memory_ = 0;
  std::optional<Error> killed_;
};

class TestApp final : public session::App {
 public:
  TestApp(session::AppInfo info, Script& script) : info_(std::move(info)), script_(script) {}

  const session::AppInfo& info() const override { return info_; }
  session::AppInfo& change_info() { return info_; }
  bool acts_on_end() const override { return script_.acts_on_end; }

  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant) override {
    script_.log.push_back("open");
    script_.events = opening.events;
    script_.restored = opening.restored;
    if (script_.hold_open) co_await script_.release.wait();
    if (script_.open_error) throw Error(*script_.open_error);
    co_return std::make_unique<TestWorker>(script_);
  }

 private:
  session::AppInfo info_;
  Script& script_;
};

inline session::AppInfo test_app_info() {
  return {.name = "app",
          .version = "1",
          .functions = {"run", "increment", "remember", "fail", "checkpoint_then_fail", "wait", "wait_for_cancel",
                        "emit", "die", "end", "read", "delegate", "throw_bytes", "change_and_wait", "miss", "act"},
          .default_function = "run",
          .queue_limit = 5};
}

class RuntimeTest : public testing::Test {
 public:
  // Runs `body` with a runtime, and closes that afterwards.
  void with_runtime(Async<void> (*body)(RuntimeTest&), Options options = {}) {
    runtime = std::make_unique<Runtime>(loop.executor(), guarded, clock, random, log, std::move(options));
    app = std::make_shared<TestApp>(info, script);
    runtime->add_app(app);
    loop.run(run(*this, body));
    runtime.reset();
  }

  static Async<void> run(RuntimeTest& test, Async<void> (*body)(RuntimeTest&)) {
    std::exception_ptr failure;
    try {
      co_await test.runtime->recover();
      co_await body(test);
    } catch (...) {
      failure = std::current_exception();
    }
    co_await test.runtime->close(test.clock.instant());
    if (failure) std::rethrow_exception(failure);
  }

  Async<TaskView> call(std::string session, std::string function, Json input = nullptr) {
    return runtime->run(
        {.app = "app", .function = std::move(function), .input = std::move(input), .session = std::move(session)});
  }

  // A new session after one call of `run`.
  Async<std::string> new_session() { co_return (co_await call("new", "run")).task.session_id; }

  // Starts a call and lets it run as far as it gets.
  Async<std::shared_ptr<LiveCall>> start(std::string session, std::string function, Json input = nullptr) {
    const TaskView view = co_await runtime->run({.app = "app",
                                                 .function = std::move(function),
                                                 .input = std::move(input),
                                                 .session = std::move(session),
                                                 .wait = false});
    const auto live = runtime->live_call(view.task.id);
    co_await settle();
    co_return live;
  }

  // Lets everything run that can run without time passing.
  Async<void> settle() {
    for (int i = 0; i < 100; ++i) co_await boost::asio::post(loop.executor(), boost::asio::use_awaitable);
  }

  Async<void> pass(Microseconds time) {
    clock.advance(time);
    co_await settle();
  }

  // What `action` fails with; no failure is a failure of the test.
  template <class T>
  static Async<ErrorCode> code_of(Async<T> action) {
    try {
      co_await std::move(action);
    } catch (const Error& error) {
      co_return error.code();
    }
    ADD_FAILURE() << "did not fail";
    co_return ErrorCode::internal_error;
  }

  Async<std::vector<std::string>> event_types(std::string session) {
    std::vector<std::string> types;
    for (const store::Event& event : co_await store.events(std::move(session), 1, 1000)) {
      types.emplace_back(parse_json_object(event.body).at("type").as_string());
    }
    co_return types;
  }

  Loop loop;
  ManualClock clock;
  SeededRandom random{7};
  Log log = Log::silent();
  store::MemoryStore store;
  GuardedStore guarded{store};
  Script script;
  session::AppInfo info = test_app_info();
  std::shared_ptr<TestApp> app;
  std::unique_ptr<Runtime> runtime;
};

}  // namespace sojourn::runtime
