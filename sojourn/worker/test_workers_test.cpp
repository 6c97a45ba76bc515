#include "sojourn/worker/test_workers.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "sojourn/worker/fork_messages.hpp"
#include "sojourn/worker/frame.hpp"
#include "sojourn/worker/packet.hpp"
#include "sojourn/worker/serve.hpp"
#include "sojourn/worker/supervisor_messages.hpp"
#include "sojourn/worker/supervisor_process.hpp"

// The program of this room's tests: the tests themselves, the supervisor, and the workers that it starts.
namespace sojourn::worker {

namespace {

using session::CallScope;

[[noreturn]] void hang() {
  for (;;) ::pause();
}

// Leaves a process that no group, session or environment ties to this one.
void leave_daemon() {
  if (const pid_t first = ::fork(); first != 0) {
    ::waitpid(first, nullptr, 0);
    return;
  }
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  const char* const arguments[] = {"sleep", "1000", nullptr};
  const char* const environment[] = {nullptr};
  ::execve("/bin/sleep", const_cast<char* const*>(arguments), const_cast<char* const*>(environment));
  ::_exit(127);
}

// Leaves a process that is another one at each moment.
void leave_hopper() {
  if (const pid_t first = ::fork(); first != 0) {
    ::waitpid(first, nullptr, 0);
    return;
  }
  for (;;) {
    if (::fork() != 0) ::_exit(0);
    ::setsid();
  }
}

class TestWorker final : public session::Worker {
 public:
  TestWorker(session::Opening opening, bool hangs) : opening_(std::move(opening)), hangs_(hangs) {}

  Async<Json> call(CallScope& scope) override {
    const std::string& name = scope.request().function;
    const Json& input = scope.request().input;
    session::Session& session = scope.session();
    if (name == "echo") co_return input;
    if (name == "opening") {
      co_return JsonObject{{"setup", opening_.setup},
                           {"context", opening_.context},
                           {"restored", opening_.restored},
                           {"folder", opening_.folder},
                           {"session", opening_.session_id}};
    }
    if (name == "count") {
      const auto count = session.get("count", 0).as_int64() + 1;
      session.set("count", count);
      co_return count;
    }
    if (name == "forget") co_return session.remove("count");
    if (name == "state") co_return session.state().to_json();
    if (name == "count_and_fail") {
      session.set("count", 1000);
      throw Error(ErrorCode::app_error, "no luck", {{"type", "Luckless"}});
    }
    if (name == "claim_lost") throw Error(ErrorCode::worker_lost, "says the app");
    if (name == "checkpoint") {
      session.set("count", 7);
      scope.record("seven", {{"is", 7}});
      co_await scope.checkpoint();
      session.set("count", 8);
      throw Error(ErrorCode::app_error, "after the checkpoint");
    }
    if (name == "progress") {
      for (int i = 0; i < 3; ++i) scope.emit(JsonObject{{"step", i}});
      scope.emit_delta("more");
      scope.log(LogLevel::warning, "half way", {{"at", 2}});
      co_return "done";
    }
    if (name == "until_cancelled") {
      scope.emit("running");
      co_await scope.cancel_wait();
      throw Error(ErrorCode::cancelled, "as asked");
    }
    if (name == "until_told") {
      scope.emit("running");
      co_await told_.wait();
      throw Error(ErrorCode::cancelled, "as told");
    }
    if (name == "call_other") co_return co_await scope.call_app("other", "double", input);
    if (name == "acquire") {
      opening_.events->resource_added({.id = "f1", .kind = "file", .cost = 3, .cleanup = {{"path", "/tmp/x"}}});
      opening_.events->resource_added({.id = "f2", .kind = "file", .cost = 1, .cleanup = {}});
      opening_.events->resource_released("f1");
      co_return nullptr;
    }
    if (name == "acquire_recorded") {
      const auto recorded = std::make_shared<Completion<bool>>();  // shared with the session
      opening_.events->resource_added({.id = "f1", .kind = "file", .cleanup = input, .recorded = recorded});
      co_return co_await recorded->wait();
    }
    if (name == "end") {
      scope.end_session();
      scope.record("farewell", {{"well", true}});
      co_return "bye";
    }
    if (name == "print") {
      fmt::print("plain\nbroken \xFF utf8\n{}\nlast", std::string(9000, 'x'));
      std::fflush(stdout);
      fmt::print(stderr, "to stderr\n");
      co_return nullptr;
    }
    if (name == "environment") {
      JsonObject variables;
      for (char** variable = ::environ; *variable != nullptr; ++variable) {
        const std::string_view text = *variable;
        variables[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
      }
      co_return variables;
    }
    if (name == "daemon") {
      leave_daemon();
      co_return nullptr;
    }
    if (name == "hopper") {
      leave_hopper();
      co_return nullptr;
    }
    if (name == "too_much_output") {
      session.set("count", 1);
      co_return std::string(9 * limits::mebibyte, 'x');
    }
    if (name == "exit") ::_exit(4);
    if (name == "abort") {
      ::signal(SIGABRT, SIG_DFL);
      ::kill(::getpid(), SIGABRT);
    }
    hang();
  }

  Async<void> close(session::CloseReason reason, Instant) override {
    fmt::print("closing: {}\n", session::to_string(reason));
    std::fflush(stdout);
    if (hangs_) hang();
    if (opening_.setup == Json("cannot close")) throw Error(ErrorCode::cleanup_failed, "the teeth are stuck");
    co_return;
  }

  void cancel() override { told_.notify_all(); }
  void kill(const Error&) override {}

 private:
  session::Opening opening_;
  bool hangs_;
  Event told_;
};

// By a setup {"deaths": N, "folder": where they are counted, "holds": whether it notes a resource first}.
void die_as_told(session::Opening& opening) {
  const JsonObject& told = opening.setup.as_object();
  const std::string folder(told.at("folder").as_string());
  const auto earlier = std::distance(std::filesystem::directory_iterator(folder), {});
  if (earlier == told.at("deaths").as_int64()) return;
  std::filesystem::create_directory(fmt::format("{}/{}", folder, earlier));
  if (told.at("holds").as_bool()) opening.events->resource_added({.id = "f1", .kind = "file", .cleanup = {}});
  ::_exit(5);
}

class TestApp final : public session::App {
 public:
  explicit TestApp(bool hangs) : hangs_(hangs) {
    info_.name = "test";
    info_.functions = {"echo",       "opening",         "count",
                       "forget",     "state",           "count_and_fail",
                       "checkpoint", "progress",        "until_cancelled",
                       "until_told", "call_other",      "acquire",
                       "end",        "print",           "environment",
                       "daemon",     "hopper",          "too_much_output",
                       "exit",       "abort",           "hang",
                       "claim_lost", "acquire_recorded"};
  }

  const session::AppInfo& info() const override { return info_; }

  Async<std::unique_ptr<session::Worker>> open(session::Opening opening, Instant) override {
    if (opening.setup == Json("refuse")) throw Error(ErrorCode::invalid_request, "refused", {{"by", "setup"}});
    if (opening.setup == Json("hang")) hang();
    if (opening.setup.is_object() && opening.setup.get_object().contains("deaths")) die_as_told(opening);
    co_return std::make_unique<TestWorker>(std::move(opening), hangs_);
  }

 private:
  session::AppInfo info_;
  bool hangs_;
};

// A worker that speaks the protocol by hand, so that it can break it.
class RawWorker {
 public:
  Frame read() {
    for (;;) {
      if (auto frame = decoder_.next()) return std::move(*frame);
      const auto room = decoder_.room();
      const ssize_t got = ::read(3, room.data(), room.size());
      if (got <= 0) ::_exit(0);
      decoder_.filled(static_cast<std::size_t>(got));
    }
  }
  void write(std::string_view bytes) { (void)!::write(3, bytes.data(), bytes.size()); }
  void write(FrameBuilder& frame) { write(frame.finish(frame_bytes_to_server)); }
  void hello(int version) { write(FrameBuilder("hello").integer("protocol", version).text("sdk", "raw")); }

  // Greets, opens, and returns the id of the first call.
  std::string reach_call() {
    read();
    hello(protocol_version);
    read();
    write(FrameBuilder("ready").flag("really", true));
    return read().text("request_id");
  }

  void result(const std::string& id) {
    write(FrameBuilder("result").text("request_id", id).value("output", Json(1)));
  }

  // Waits to be closed, and goes in order. The status to exit with.
  int close() {
    read();
    write(FrameBuilder("closed").raw("failures", "[]"));
    return 0;
  }

 private:
  FrameDecoder decoder_{frame_bytes_to_worker};
};

}  // namespace

int run_test_worker(std::string_view mode) {
  RawWorker raw;
  if (mode == "exit") {
    fmt::print(stderr, "cannot find my teeth\n");
    return 3;
  }
  if (mode == "mute") hang();
  if (mode == "garbage") {
    raw.write("GET / HTTP/1.1\r\n\r\n");
    hang();
  }
  if (mode == "old") {
    raw.read();
    raw.hello(99);
    hang();
  }
  if (mode == "not_ready") {
    raw.read();
    raw.hello(protocol_version);
    raw.read();
    raw.write(FrameBuilder("result").text("request_id", "1"));
    hang();
  }
  if (mode == "garbage_in_call" || mode == "zero_in_call" || mode == "unknown_in_call" || mode == "other_call" ||
      mode == "two_results" || mode == "no_output" || mode == "idle_result" || mode == "bad_state" ||
      mode == "huge_state" || mode == "closes_socket" || mode == "complains") {
    const std::string id = raw.reach_call();
    if (mode == "garbage_in_call") raw.write(std::string("\0\0\0\5{oops", 9));
    if (mode == "zero_in_call") raw.write(std::string(4, '\0'));
    if (mode == "unknown_in_call") raw.write(FrameBuilder("dance").text("request_id", id));
    if (mode == "other_call") raw.result("another");
    if (mode == "no_output") raw.write(FrameBuilder("result").text("request_id", id));
    if (mode == "complains") raw.write(FrameBuilder("error").text("code", "protocol_error").text("message", "why?"));
    if (mode == "bad_state") {
      raw.write(FrameBuilder("result").text("request_id", id).value("output", Json(1)).raw("state_set", "[1]"));
    }
    if (mode == "huge_state") {
      const std::string value = '"' + std::string(limits::state_value_bytes, 'x') + '"';
      raw.write(
          FrameBuilder("result").text("request_id", id).raw("output", "1").raw("state_set", "{\"k\":" + value + "}"));
    }
    if (mode == "two_results") {
      raw.write(FrameBuilder("result").text("request_id", id).value("output", Json(1)).finish(1000) +
                FrameBuilder("result").text("request_id", id).value("output", Json(2)).finish(1000));
    }
    if (mode == "idle_result") {
      raw.result(id);
      raw.read();  // the next call, which is answered twice over
      raw.result(id);
    }
    if (mode == "closes_socket") ::close(3);
    hang();
  }
  if (mode == "leaves_after_result") {
    raw.result(raw.reach_call());
    ::close(3);
    hang();
  }
  if (mode == "failures") {
    const std::string id = raw.reach_call();
    raw.result(id);
    raw.read();
    raw.write(FrameBuilder("closed").raw("failures", R"([{"id":"r1","kind":"file","message":"busy"}])"));
    return 0;
  }
  if (mode == "pings") {
    const std::string id = raw.reach_call();
    raw.write(FrameBuilder("ping").integer("n", 41));
    const Frame pong = raw.read();
    raw.write(FrameBuilder("result").text("request_id", id).value("output", Json(pong.fields())));
    hang();
  }
  if (mode == "hasty_checkpoint") {
    const std::string id = raw.reach_call();
    raw.write(FrameBuilder("checkpoint").text("request_id", id).finish(1000) +
              FrameBuilder("result").text("request_id", id).value("output", Json(1)).finish(1000));
    raw.result(raw.read().text("request_id"));
    hang();
  }
  if (mode == "deaf") {
    raw.reach_call();
    const std::string number = '"' + std::string(7 * limits::mebibyte, 'x') + '"';
    for (int i = 0; i < 20; ++i) raw.write(FrameBuilder("ping").raw("n", number));
    hang();
  }
  if (mode == "late_log") {
    raw.result(raw.reach_call());
    raw.write(FrameBuilder("log").text("request_id", "task_1").text("level", "warning").text("message", "late"));
    return raw.close();
  }
  if (mode == "calls_many") {
    const std::string id = raw.reach_call();
    for (int i = 0; i < 65; ++i) {
      raw.write(FrameBuilder("app_call")
                    .text("request_id", id)
                    .text("call_id", std::to_string(i))
                    .text("app", "slow")
                    .raw("input", "1"));
    }
    const Frame refused = raw.read();
    raw.write(FrameBuilder("result").text("request_id", id).value("output", Json(refused.fields())));
    hang();
  }
  if (mode == "floods_resources") {
    const std::string id = raw.reach_call();
    for (int i = 0; i < 2'000; ++i) raw.write(FrameBuilder("resource").text("op", "add").text("id", "r"));
    raw.result(id);
    return raw.close();
  }
  if (mode == "flood") {
    const std::string id = raw.reach_call();
    for (int i = 0; i < 20'000; ++i) {
      raw.write(FrameBuilder("progress").text("request_id", id).value("delta", Json(i)));
    }
    raw.result(id);
    return raw.close();
  }
  if (mode == "ignores_term") ::signal(SIGTERM, SIG_IGN);
  if (mode == "fails_preload") {
    return serve(std::make_unique<TestApp>(false), [] { throw Error(ErrorCode::app_error, "no model here"); });
  }
  if (mode == "refuses_forks") {
    send_packet(passed_descriptor, preloaded_message());
    std::vector<char> room(fork_message_bytes);
    for (PassedDescriptors unwanted; receive_packet(passed_descriptor, room, unwanted, 0) > 0; unwanted = {}) {
      send_packet(passed_descriptor, failed_message());
    }
    return 0;
  }
  if (mode == "leaves_thread") {
    return serve(std::make_unique<TestApp>(false), [] { std::thread(hang).detach(); });
  }
  return serve(std::make_unique<TestApp>(mode == "ignores_term" || mode == "hangs_at_close"));
}

}  // namespace sojourn::worker

int main(int count, char** arguments) {
  using namespace sojourn::worker;
  const std::string_view first = count > 1 ? arguments[1] : "";
  if (first == "supervise") return supervisor_main();
  if (first == "worker") return run_test_worker(count > 2 ? arguments[2] : "");
  if (first == "server") return run_test_server(arguments[2]);
  testing::InitGoogleTest(&count, arguments);
  return RUN_ALL_TESTS();
}
