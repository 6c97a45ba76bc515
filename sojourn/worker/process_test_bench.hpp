#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/this_coro.hpp>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/worker/process_app.hpp"

// What the tests of real processes stand on: a loop, a supervisor, a folder, and a session that remembers what a
// worker told it.
namespace sojourn::worker {

struct LogLine {
  LogLevel level;
  std::string stream;
  std::string message;
  JsonObject fields;
};

class Recorder final : public session::WorkerEvents {
 public:
  void log(LogLevel level, std::string_view stream, std::string_view message, JsonObject fields) override {
    lines.push_back({level, std::string(stream), std::string(message), std::move(fields)});
    changed.notify_all();
  }
  void resource_added(session::ResourceNote resource) override {
    resources.push_back(std::move(resource));
    if (resources.back().recorded && !holds_records) record(resources.back());
    changed.notify_all();
  }
  void resource_released(std::string_view id) override { released.emplace_back(id); }
  void lost(Error cause) override {
    losses.push_back(std::move(cause));
    changed.notify_all();
  }

  // Answers who waits until a resource is recorded.
  void record(const session::ResourceNote& resource) const {
    if (record_error) {
      resource.recorded->fail(record_error);
    } else {
      resource.recorded->set(true);
    }
  }

  const LogLine* find(std::string_view message) const {
    for (const LogLine& line : lines) {
      if (line.message == message) return &line;
    }
    return nullptr;
  }

  std::deque<LogLine> lines;
  std::vector<session::ResourceNote> resources;
  std::vector<std::string> released;
  std::vector<Error> losses;
  bool holds_records = false;       // nobody who waits for a resource's record is answered
  std::exception_ptr record_error;  // what they are answered with
  Event changed;
};

class TestScope final : public session::CallScope {
 public:
  TestScope(session::Session& session, session::CallRequest request)
      : session_(session), request_(std::move(request)) {}

  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json output) override {
    outputs.push_back(std::move(output));
    changed.notify_all();
  }
  void emit_delta(Json delta) override { deltas.push_back(std::move(delta)); }
  void log(LogLevel level, std::string_view message, JsonObject fields) override {
    lines.push_back({level, "app", std::string(message), std::move(fields)});
  }
  void record(std::string type, JsonObject data) override { events.emplace_back(std::move(type), std::move(data)); }
  Async<void> checkpoint() override {
    if (checkpoint_error) std::rethrow_exception(checkpoint_error);
    session_.state().accept();
    ++checkpoints;
    co_return;
  }
  void end_session() override { ended = true; }
  Async<Json> call_app(std::string app, std::string function, Json input) override {
    if (app == "slow") co_await never_.wait();
    if (app != "other" || function != "double") throw Error(ErrorCode::app_not_found, "no app " + app);
    if (!input.is_int64()) throw Error(ErrorCode::invalid_request, "not a number");
    co_return input.get_int64() * 2;
  }
  bool cancel_requested() const override { return cancelled_; }
  Async<void> cancel_wait() override {
    while (!cancelled_) co_await cancel_event_.wait();
  }
  void cancel() {
    cancelled_ = true;
    cancel_event_.notify_all();
  }

  std::vector<Json> outputs;
  std::vector<Json> deltas;
  std::vector<LogLine> lines;
  std::vector<std::pair<std::string, JsonObject>> events;
  std::exception_ptr checkpoint_error;
  int checkpoints = 0;
  bool ended = false;
  Event changed;

 private:
  session::Session& session_;
  session::CallRequest request_;
  bool cancelled_ = false;
  Event cancel_event_;
  Event never_;
};

// The path of this program.
std::string this_program();

// The processes that descend from `ancestor`, zombies left out.
std::vector<pid_t> descendants(pid_t ancestor);

std::size_t open_descriptors();

class ProcessTestBench : public testing::Test {
  TemporaryFolder made_;

 public:
  using Body = Async<void> (*)(ProcessTestBench& bench);

  // Runs `body`, closes the supervisor, and checks that no process and no descriptor is left.
  void run(Body body);

  // An app whose program is this one in `mode`.
  ProcessApp& app(std::string mode);
  ProcessApp& program(std::vector<std::string> command, ProcessLimits limits = {});

  session::Opening opening();
  Instant in(Milliseconds time) { return clock.instant() + time; }
  Async<std::unique_ptr<session::Worker>> open(std::string mode);
  session::CallRequest request(std::string function, Json input = nullptr);

  // A call as the runtime does it: its state changes are kept or dropped.
  Async<Json> call(session::Worker& worker, std::string function, Json input = nullptr);
  Async<void> close(session::Worker& worker, Milliseconds time = Seconds(20));

  // Waits until `done` holds; fails the test after a generous time.
  Async<void> until(std::function<bool()> done);

  Loop loop;
  SystemClock clock;
  Log log = Log::silent();
  Isolation isolation;
  std::unique_ptr<Supervisor> supervisor;
  std::filesystem::path folder = made_.path();
  session::Session session{"sess_test"};
  Recorder events;

 private:
  Async<void> run_and_close(Body body);

  std::vector<std::unique_ptr<ProcessApp>> apps_;
  int calls_ = 0;
};

// The error that `work` ends with; a test failure when it ends well.
template <class T>
Async<Error> error_of(Async<T> work) {
  try {
    (void)co_await std::move(work);
  } catch (...) {
    co_return to_error(std::current_exception());
  }
  ADD_FAILURE() << "it did not fail";
  co_return Error(ErrorCode::internal_error, "it did not fail");
}

template <>
inline Async<Error> error_of(Async<void> work) {
  try {
    co_await std::move(work);
  } catch (...) {
    co_return to_error(std::current_exception());
  }
  ADD_FAILURE() << "it did not fail";
  co_return Error(ErrorCode::internal_error, "it did not fail");
}

}  // namespace sojourn::worker
