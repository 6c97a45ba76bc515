#include "sojourn/worker/serve.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <utility>

#include "sojourn/base/loop.hpp"
#include "sojourn/worker/fork_parent.hpp"
#include "sojourn/worker/frames_to_worker.hpp"
#include "sojourn/worker/remote_scope.hpp"
#include "sojourn/worker/supervisor_messages.hpp"

namespace sojourn::worker {

namespace {

// The server keeps the time and ends this process; these only bound what it forgot.
constexpr auto setup_time = Seconds(3600);
constexpr auto cleanup_time = Seconds(300);

// What the server sets for a process that it starts for a session, for one that was there before.
void enter_session(const session::Opening& opening) {
  if (std::getenv("SOJOURN_SESSION") != nullptr) return;
  ::setenv("SOJOURN_SESSION", opening.session_id.c_str(), 1);
  if (opening.folder.empty()) return;
  if (::chdir(opening.folder.c_str()) != 0) throw io_error(opening.folder, errno);
  ::setenv("HOME", opening.folder.c_str(), 0);
  ::setenv("TMPDIR", (opening.folder + "/tmp").c_str(), 0);
}

// One session, served to the server at descriptor 3.
class Service final : public session::WorkerEvents {
 public:
  Service(session::App& app, Clock& clock, Executor executor)
      : app_(app),
        clock_(clock),
        group_(std::move(executor)),
        stream_(Descriptor(passed_descriptor), group_, frame_bytes_to_worker) {}

  // Whether the server closed the session, and nothing else ended it.
  Async<bool> run() {
    std::optional<Error> wrong;
    try {
      if (co_await greet() && co_await open()) co_await serve_calls();
    } catch (const Error& error) {
      wrong = error;
    }
    if (wrong) {
      fmt::print(stderr, "the session ends: {}\n", wrong->message());
      stream_.send(violation_frame(*wrong));
    }
    co_await close();
    co_return closing_ && !wrong;
  }

  void log(LogLevel level, std::string_view, std::string_view message, JsonObject fields) override {
    stream_.send(log_frame("", level, message, fields));
  }
  void resource_added(session::ResourceNote resource) override {
    if (!resource.recorded) {
      stream_.send(resource_frame(resource, std::nullopt));
      return;
    }
    recording_.emplace(++last_note_, resource.recorded);
    stream_.send(resource_frame(resource, last_note_));
  }
  void resource_released(std::string_view id) override { stream_.send(resource_released_frame(id)); }
  void lost(Error cause) override {
    fmt::print(stderr, "what served the session is lost: {}\n", cause.message());
    stream_.shut_down();
  }

 private:
  Async<bool> greet() {
    const auto hello = co_await stream_.read();
    if (!hello) co_return false;
    const auto version = hello->type() == "hello" ? hello->integer("protocol") : 0;
    if (version != protocol_version) {
      throw Error(
          ErrorCode::protocol_error,
          fmt::format("the server speaks version {} of the protocol, this worker {}", version, protocol_version));
    }
    stream_.send(worker_hello_frame(app_.info(), app_.acts_on_end()));
    co_return true;
  }

  Async<bool> open() {
    auto frame = co_await stream_.read();
    if (!frame) co_return false;
    if (frame->type() != "open")
      throw Error(ErrorCode::protocol_error, "the first frame after hello is not \"open\"");
    session::Opening opening = read_opening(*frame);
    opening.events = this;
    std::optional<Error> failed;
    try {
      enter_session(opening);
      std::map<std::string, store::JsonText> state;
      for (const auto& [key, value] : opening.state) state.emplace(key, to_text(value));
      session_.emplace(opening.session_id, opening.context, session::State(state));
      worker_ = co_await app_.open(std::move(opening), clock_.instant() + setup_time);
    } catch (...) {
      failed = to_error(std::current_exception());
    }
    stream_.send(failed ? error_frame("", *failed) : ready_frame());
    co_return !failed;
  }

  Async<void> serve_calls() {
    while (auto frame = co_await stream_.read()) {
      const std::string& type = frame->type();
      if (type == "call") {
        if (scope_) throw Error(ErrorCode::protocol_error, "a \"call\" while another runs");
        // There at once, for what comes right behind it.
        scope_.emplace(read_call(*frame, clock_.instant()), *session_, stream_);
        group_.spawn(serve_call());
      } else if (type == "cancel") {
        // The call may have ended while this was under way.
        if (!scope_ || scope_->request().task_id != frame->text("request_id")) continue;
        scope_->cancel();
        worker_->cancel();
      } else if (type == "saved") {
        if (scope_) scope_->take_saved(*frame);
      } else if (type == "noted") {
        take_noted(*frame);
      } else if (type == "app_result") {
        if (scope_) scope_->take_app_result(*frame);
      } else if (type == "ping") {
        stream_.send(pong_frame(*frame));
      } else if (type == "close") {
        closing_ = read_close(*frame);
        co_return;
      } else if (type == "error") {
        throw Error(ErrorCode::protocol_error, "the server says: " + frame->text_or("message", ""));
      } else if (type != "pong") {
        throw Error(ErrorCode::protocol_error, fmt::format("unknown frame type \"{}\"", to_valid_utf8(type)));
      }
    }
  }

  void take_noted(Frame& frame) {
    const auto noted = recording_.extract(frame.integer("n"));
    if (!noted) throw Error(ErrorCode::protocol_error, "\"noted\" for a resource that was not told of");
    if (const auto error = read_error(frame)) {
      noted.mapped()->fail(std::make_exception_ptr(*error));
    } else {
      noted.mapped()->set(true);
    }
  }

  Async<void> serve_call() {
    const session::CallRequest& call = scope_->request();
    std::optional<Error> failed;
    try {
      accept_outside_changes(call);
      if (std::ranges::find(app_.info().functions, call.function) == app_.info().functions.end()) {
        throw Error(ErrorCode::function_not_found,
                    fmt::format("{} has no function \"{}\"", app_.info().name, call.function));
      }
      const Json output = co_await worker_->call(*scope_);
      stream_.send(scope_->result(output));
      session_->state().accept();
    } catch (...) {
      failed = to_error(std::current_exception());
    }
    if (failed) {
      session_->state().discard();
      stream_.send(error_frame(call.task_id, *failed));
    }
    scope_.reset();
  }

  void accept_outside_changes(const session::CallRequest& call) {
    for (const store::StateChange& change : call.outside_changes) {
      if (change.value) {
        session_->state().set(change.key, parse_json(*change.value));
      } else {
        session_->state().remove(change.key);
      }
    }
    session_->state().accept();
  }

  Async<void> close() {
    for (const auto& [n, recorded] : std::exchange(recording_, {})) recorded->fail(disconnected());
    if (scope_) {
      scope_->disconnect();
      worker_->kill(Error(ErrorCode::cancelled, "the server closed the session"));
    }
    co_await group_.join();
    std::optional<Error> failed;
    if (worker_) {
      try {
        co_await worker_->close(closing_.value_or(session::CloseReason::lost), clock_.instant() + cleanup_time);
      } catch (...) {
        failed = to_error(std::current_exception());
      }
      if (failed) fmt::print(stderr, "closing failed: {}\n", failed->message());
    }
    if (closing_) stream_.send(closed_frame(failed));
    stream_.flush();
    co_await group_.join();
  }

  session::App& app_;
  Clock& clock_;
  TaskGroup group_;
  FrameStream stream_;
  std::optional<session::Session> session_;
  std::unique_ptr<session::Worker> worker_;
  std::optional<RemoteScope> scope_;                                     // of the call that runs
  std::map<std::int64_t, std::shared_ptr<Completion<bool>>> recording_;  // shared with who waits for the server
  std::int64_t last_note_ = 0;
  std::optional<session::CloseReason> closing_;
};

Async<void> serve_session(session::App& app, Clock& clock, bool& well) {
  Service service(app, clock, co_await boost::asio::this_coro::executor);
  well = co_await service.run();
}

}  // namespace

int serve(std::unique_ptr<session::App> app, const std::function<void()>& preload) {
  if (::fcntl(passed_descriptor, F_GETFD) < 0) {
    fmt::print(stderr, "this program serves sessions of {}; a Sojourn server starts it\n", app->info().name);
    return 2;
  }
  if (is_fork_parent()) {
    if (!fork_workers(preload)) return 0;
  } else if (preload) {
    preload();
  }
  // What the app starts must not hold the connection.
  ::fcntl(passed_descriptor, F_SETFD, FD_CLOEXEC);
  SystemClock clock;
  bool well = false;
  try {
    Loop loop;
    loop.run(serve_session(*app, clock, well));
  } catch (const std::exception& error) {
    fmt::print(stderr, "the session ends: {}\n", error.what());
  }
  return well ? 0 : 1;
}

}  // namespace sojourn::worker
