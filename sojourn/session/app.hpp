#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/session/session.hpp"

// The three interfaces that join everything that can serve a session: an App offers functions and opens Workers, a
// Worker serves one session, and a CallScope is what a running call may do.
//
// A program in C++ implements App and Worker itself. A process, a board, an algorithm or a flow does so too, so the
// runtime never asks what kind of thing it talks to.
namespace sojourn::session {

struct AppInfo {
  std::string name;  // "name" or "namespace/name"
  std::string version = "0";
  std::string description;
  std::vector<std::string> functions = {"run"};
  std::string default_function = "run";

  Seconds session_timeout = limits::default_session_timeout;  // idle, where the caller does not say
  Seconds call_timeout = limits::default_call_timeout;
  std::size_t max_sessions = limits::default_max_sessions;
  std::size_t queue_limit = limits::default_queue;  // waiting calls of one session
  std::size_t output_bytes = limits::json_bytes;    // of a call's output, as text
  bool recover = false;  // the app keeps what matters in session.state: a lost worker may be replaced
  std::optional<Seconds> sleep_after = std::nullopt;  // idleness after which the worker is closed; needs `recover`
};

// A resource that an app acquired and that must be released.
struct ResourceNote {
  std::string id;  // the app's, unique in its session
  std::string kind;
  std::int64_t cost = 0;
  Json cleanup;  // how to clean it up without the app: {"path": ...}, {"pid": ...}, or null

  // Set once the note is durable, failed as its commit fails; shared with who waits for it before it acquires the
  // resource. Null where nobody does: the note then becomes durable soon after, or with the next commit.
  std::shared_ptr<Completion<bool>> recorded = nullptr;
};

// What a worker tells its session at any time, also between calls.
// Threads: on the session's executor. Lifetime: from App::open until the worker is destroyed.
class WorkerEvents {
 public:
  virtual ~WorkerEvents() = default;

  // `stream` is "stdout", "stderr" or "app".
  virtual void log(LogLevel level, std::string_view stream, std::string_view message, JsonObject fields) = 0;
  virtual void resource_added(ResourceNote resource) = 0;
  virtual void resource_released(std::string_view id) = 0;

  // The worker is gone and serves no more; `cause` says how (worker_lost, protocol_error). At most once, and not
  // after Worker::close was called.
  virtual void lost(Error cause) = 0;
};

// What a worker is opened with.
struct Opening {
  std::string session_id;
  JsonObject context;
  Json setup;
  std::vector<std::pair<std::string, Json>> state;
  bool restored = false;  // it goes on with a session that another worker served
  std::string folder;     // absolute, exists; the worker's working directory. "" where there is none
  WorkerEvents* events = nullptr;
};

struct CallRequest {
  std::string task_id;
  std::string function;
  Json input;
  std::vector<store::StateChange> outside_changes;  // made to the state since the worker last saw it
  Instant deadline;
};

// What a running call may do. One per call; valid until Worker::call returns.
// Threads: on the session's executor.
class CallScope {
 public:
  virtual ~CallScope() = default;

  virtual const CallRequest& request() const = 0;
  virtual Session& session() = 0;  // state changes are committed with the call, or dropped when it fails

  // Tells who follows the call something provisional: a partial output, or a delta to merge into it.
  virtual void emit(Json partial_output) = 0;
  virtual void emit_delta(Json delta) = 0;

  virtual void log(LogLevel level, std::string_view message, JsonObject fields = {}) = 0;

  // Appends an event of the app's own to what the next commit makes durable. Errors: invalid_request, too_large.
  virtual void record(std::string type, JsonObject data) = 0;

  // Commits the state and events so far; what comes after may still fail and be dropped.
  // Errors: those of Store::commit. Durable: when it returns.
  virtual Async<void> checkpoint() = 0;

  // The session ends when this call is over and answered.
  virtual void end_session() = 0;

  // Runs a function of another app in a session of its own, and returns its output.
  // Errors: app_not_found, and what that call fails with.
  virtual Async<Json> call_app(std::string app, std::string function, Json input) = 0;

  virtual bool cancel_requested() const = 0;

  // Returns when cancel is requested, or when the call is over.
  virtual Async<void> cancel_wait() = 0;
};

// The error of a call whose worker was gone before the call could reach it, so that another worker may serve it.
Error unreached(const Error& lost);
bool is_unreached(const Error& error);

// Of these `ended` and `expired` say that the session is over; the others that it may go on with another worker.
enum class CloseReason { ended, expired, lost, server_stopping, sleeping };

std::string_view to_string(CloseReason reason);

// What a worker has cost, once it was closed.
struct WorkerUsage {
  Microseconds cpu_time{0};
  std::uint64_t peak_memory = 0;  // bytes
};

// What serves one session now.
// Threads: everything on the session's executor; one call at a time.
class Worker {
 public:
  virtual ~Worker() = default;

  // Serves one call and returns its output.
  // Errors: whatever it throws fails the call, and the call's state changes are dropped. Of these worker_lost and
  //         protocol_error mean that the worker is gone too, and unreached() that it was before the call began.
  // Cancel: the runtime asks through the scope; at the deadline it calls kill().
  virtual Async<Json> call(CallScope& scope) = 0;

  // The running call was asked to stop: its scope tells it so. For a worker that must pass that on.
  virtual void cancel() {}

  // Lets the worker clean up, until `deadline`, and releases all it holds. No call runs. Called once unless kill()
  // was.
  // Errors: worker_lost when it was gone before it had cleaned up; what it had acquired may be left. Any other says
  //         what it could not clean up. It is closed all the same.
  virtual Async<void> close(CloseReason reason, Instant deadline) = 0;

  // Ends the worker at once: a running call() fails with `cause`. Close it afterwards all the same.
  virtual void kill(const Error& cause) = 0;

  // Nothing where that is not known, as of a worker that is no process of its own.
  virtual WorkerUsage usage() const { return {}; }

  // What people may want to know: {"pid": ...} of a process.
  virtual JsonObject describe() const { return {}; }
};

// What can be run.
class App {
 public:
  virtual ~App() = default;

  virtual const AppInfo& info() const = 0;

  // What people may want to know of what serves it now: {"spares": 2} of an app that is kept warm.
  virtual JsonObject describe() const { return {}; }

  // Whether its workers may act on the end of their session: one that sleeps is woken to be ended then.
  virtual bool acts_on_end() const { return false; }

  // Opens a worker for one session, until `deadline`.
  // Errors: worker_start_failed, protocol_error, call_timeout, unavailable; whatever an app's setup throws.
  virtual Async<std::unique_ptr<Worker>> open(Opening opening, Instant deadline) = 0;
};

}  // namespace sojourn::session
