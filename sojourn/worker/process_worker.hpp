#pragma once

#include <csignal>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/frame_stream.hpp"
#include "sojourn/worker/isolation.hpp"
#include "sojourn/worker/lines.hpp"
#include "sojourn/worker/supervisor.hpp"

// A process that serves one session, seen from the server.
//
// One coroutine reads its frames for as long as it lives and puts those that belong to a call into the inbox, from
// which call() takes them in order; what the worker tells at any time goes straight to the session. Whatever ends the
// worker early goes through lose(), once, with the cause.
namespace sojourn::worker {

// The server's ends of what the process was given.
struct WorkerEnds {
  Descriptor socket;
  Descriptor output;
  Descriptor errors;
};

// Threads: one executor.
class ProcessWorker final : public session::Worker {
 public:
  ProcessWorker(Executor executor, Clock& clock, const Log& log, std::shared_ptr<Process> process, WorkerEnds ends,
                session::WorkerEvents* events);
  ~ProcessWorker() override;  // asserts that close() was awaited

  // Greets the worker; it then waits for its session.
  // Errors: worker_start_failed (it ended, or said no hello until `deadline`), protocol_error. Close it then.
  Async<void> greet(Instant deadline);

  // Whether it may be greeted before its session is known, and enters the session's folder when it opens it.
  bool can_wait() const { return can_wait_; }

  // Whether its app does something of its own at the end of its session; once it was greeted.
  bool acts_on_end() const { return acts_on_end_; }

  // Whom it tells from now on.
  void tell(session::WorkerEvents& events) { events_ = &events; }

  // Has the greeted worker open the session.
  // Errors: worker_start_failed (it ended, or was not ready at `deadline`), protocol_error; what its setup
  //         failed with. Close it then.
  // Lifetime: `opening` until it returns.
  Async<void> open(const session::Opening& opening, std::string app_version, Instant deadline);

  // Ends the worker when `folder` holds more than `most`. Best effort: it is looked at once a second, or less often
  // where looking takes long, and what was removed but is open does not count. Lifetime: `isolation` outlives this.
  void watch_folder(Isolation& isolation, std::string folder, std::uint64_t most);

  // The id that it has alone; null where it has the server's.
  const std::shared_ptr<WorkerUsers::Lease>& lease() const { return process_->lease(); }

  // Whether open() reached it, so that its setup may have run.
  bool reached() const { return reached_; }

  // Whether it died in open() with nothing that its session would miss, so that another may take its place.
  bool died_empty_handed() const { return lost_ && lost_->code() == ErrorCode::worker_lost && is_empty_handed_; }

  // It runs in a sandbox, with which goes what it has outside its session's folder.
  void note_sandbox() { is_sandboxed_ = true; }

  // How it came to be, for describe(): "cold" from a new process, "fork" of a parent, "warm" where it waited for
  // this.
  void note_start(std::string_view kind) { start_ = kind; }

  // Calls `told` when the worker is lost: once, and not where the server itself ends or closes it.
  void on_loss(std::function<void()> told) { on_loss_ = std::move(told); }

  // Keeps `lease` until this is destroyed.
  void hold(std::shared_ptr<void> lease) { lease_ = std::move(lease); }

  Async<Json> call(session::CallScope& scope) override;
  Async<void> close(session::CloseReason reason, Instant deadline) override;
  void cancel() override;
  void kill(const Error& cause) override;
  session::WorkerUsage usage() const override { return usage_; }
  JsonObject describe() const override;

  // The last lines that it wrote to standard error.
  std::string last_errors() const { return last_errors_.text(); }

 private:
  enum class Phase { greeting, waiting, opening, idle, calling, failed, closing, closed };

  Async<void> read_frames();
  Async<void> watch_exit();
  Async<void> look_at_folder(Isolation& isolation, std::string folder, std::uint64_t most);
  Async<void> read_lines(std::string stream, Descriptor pipe);
  void take_line(std::string_view stream, std::string line, bool cut);

  Async<void> take(Frame frame);
  bool is_of_running_call(const Frame& frame) const;
  bool is_inbox_full() const;
  void take_log(Frame& frame);
  void confine(Json& cleanup) const;
  Async<void> take_resource(Frame frame);
  Async<void> tell_noted(std::int64_t n, std::shared_ptr<Completion<bool>> recorded);
  void check_belongs_to_call(const Frame& frame);

  Async<Frame> next(Instant deadline);
  [[noreturn]] void fail_start(std::exception_ptr failed);
  Async<Frame> next();
  Async<Json> converse(session::CallScope& scope, TaskGroup& app_calls);
  Async<void> checkpoint(session::CallScope& scope, Frame frame);
  void apply(session::CallScope& scope, Frame& frame);
  Async<void> answer_app_call(session::CallScope& scope, Frame frame);

  void reply(std::string frame);
  Async<std::exception_ptr> explain_loss(std::exception_ptr loss);
  void end_call(std::exception_ptr failed);
  void lose(Error cause);
  void violate(Error violation);
  void tell_lost();
  Async<bool> exited_by(Instant deadline);
  Async<void> end_politely(Instant deadline);
  void report_failures();

  Clock& clock_;
  const Log& log_;
  std::shared_ptr<Process> process_;  // shared with the supervisor
  session::WorkerEvents* events_;
  TaskGroup group_;
  FrameStream stream_;

  std::string_view start_ = "cold";
  bool is_sandboxed_ = false;
  Phase phase_ = Phase::greeting;
  Event changed_;  // of anything below
  std::deque<Frame> inbox_;
  std::size_t inbox_bytes_ = 0;
  std::size_t notes_ = 0;    // of resources, since the last that was waited for
  std::size_t readers_ = 0;  // that have not reached their end
  std::optional<Error> lost_;
  std::function<void()> on_loss_;
  bool told_ = false;  // the session knows the loss
  std::optional<Frame> closed_;
  session::WorkerUsage usage_;

  std::string request_id_;  // of the call that runs
  bool answered_ = false;   // what was asked last: hello, open, or the call
  bool can_cancel_ = false;
  bool can_wait_ = false;
  bool acts_on_end_ = false;
  bool reached_ = false;
  bool is_empty_handed_ = true;  // it noted no resource
  std::string sdk_;
  LastLines last_errors_;
  std::shared_ptr<void> lease_;  // shared with nobody; its end tells who counts workers
};

}  // namespace sojourn::worker
