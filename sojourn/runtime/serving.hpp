#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/counts.hpp"
#include "sojourn/runtime/live_call.hpp"
#include "sojourn/runtime/resource_ledger.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/session/kept_session.hpp"

// What serves one session now: opens its worker when a call needs one, runs calls on it, and knows when it is gone.
namespace sojourn::runtime {

struct Surroundings {
  Executor executor;
  Clock& clock;
  Milliseconds cancel_grace;
  Counts& counts;
  // Makes the session's folder and returns its path; "" for none.
  std::function<Async<std::string>(store::SessionRecord)> make_folder;
  // Brings it to the disk.
  std::function<Async<void>(store::SessionRecord)> keep_folder;
  // Cleans up what a dead worker left, and returns why it could not; it blocks elsewhere.
  std::function<Async<std::optional<std::string>>(store::ResourceRecord, std::string folder)> clean_up;
  // Both may be empty; Options says what they do.
  std::function<Async<Json>(Json input, std::string folder)> bring_files;
  std::function<Async<Json>(Json output, OutputPlace place)> keep_files;
  // Runs a function of another app in a session of its own.
  std::function<Async<Json>(std::string app, std::string function, Json input, std::string actor)> call_app;
};

// How a call ended, before anything of it is durable.
struct Outcome {
  std::optional<store::JsonText> output;  // or
  std::optional<Error> error;
  bool cancelled = false;
  bool ends_session = false;
  bool had_worker = false;                // else it was over before one was open
  std::vector<session::NewEvent> events;  // that the app recorded since its last checkpoint
  std::chrono::microseconds took{0};
};

// Threads: one executor. One call at a time.
class Serving final : private session::WorkerEvents {
 public:
  // What an actor does when its worker tells it something outside a call's answer.
  struct Hooks {
    std::function<void()> lost;           // the worker went while no call ran
    std::function<void()> commit_wanted;  // see wants_commit()
  };

  Serving(const Surroundings& surroundings, session::KeptSession& kept, session::App* app, bool restored,
          Hooks hooks);
  ~Serving() override;  // asserts that no worker is open

  // Runs `call` and never throws: what goes wrong is in the outcome.
  Async<Outcome> call(std::shared_ptr<LiveCall> call);

  // Opens a worker, unless there is one, until `timeout` is over. Errors: as a call that could not be served.
  Async<void> warm_up(Milliseconds timeout);

  // Asks the running call to stop, and ends the worker, or its start, if it does not within the grace. The call then
  // fails with `why`, unless it still succeeds and `why` is cancelled. So does warm_up(). Without either, nothing.
  void stop_call(Error why);

  // Why the worker went, or can no more be opened, if so and close() has not yet been called since.
  const std::optional<Error>& lost_cause() const { return lost_cause_; }
  bool has_worker() const { return worker_ != nullptr; }
  bool was_called() const { return restored_; }
  JsonObject describe() const { return worker_ ? worker_->describe() : JsonObject(); }

  // The worker knows more than could be made durable, so it serves no more.
  void abandon(const Error& why);

  // Lets the worker clean up and go. The journal says so. Without a worker, nothing.
  Async<void> close(session::CloseReason reason, Instant deadline);

  // The worker will be told with the next call.
  void note_outside_changes(const std::vector<store::StateChange>& changes);

  // Whether what the worker said should not wait for the next call's commit: a resource was acquired that must be
  // known after a crash, or as many events wait as one commit takes.
  bool wants_commit() const;

  // Whether the worker said something of its resources that no commit has taken along.
  bool has_resource_news() const { return resources_.has_news(); }

  // Makes `step` durable with what the worker said of its resources. Errors: those of KeptSession::commit; what was
  // said then goes with the next.
  Async<void> commit(session::Step step);

 private:
  class Scope;

  void log(LogLevel level, std::string_view stream, std::string_view message, JsonObject fields) override;
  void resource_added(session::ResourceNote resource) override;  // Errors: too_large
  void resource_released(std::string_view id) override;
  void lost(Error cause) override;

  Async<void> open_worker(LiveCall* call, Instant deadline);
  Async<Json> call_worker(LiveCall& call, Scope& scope);
  Async<Json> take_input(std::shared_ptr<LiveCall> call);
  Async<store::JsonText> take_output(std::shared_ptr<LiveCall> call, Json output);
  Async<std::optional<Json>> call_worker_if_there(Scope& scope);
  Async<void> start_worker(session::Opening opening, Instant deadline);
  Async<void> clean_up_after_lost_worker();
  void append_log(LogLevel level, std::string_view stream, std::string_view message, const JsonObject& fields,
                  const std::string* task_id);
  void append(std::string type, const JsonObject& data);
  bool is_gone(const Error& error) const;
  bool may_open_later(const Error& error, Instant deadline) const;

  const Surroundings& surroundings_;
  session::KeptSession& kept_;
  session::App* app_;  // null for a session without one
  bool restored_;
  Hooks hooks_;

  std::unique_ptr<session::Worker> worker_;
  TaskGroup* starting_ = nullptr;  // the start of a worker, while it goes on
  std::optional<Error> lost_cause_;
  std::vector<store::StateChange> outside_changes_;
  ResourceLedger resources_;
  bool urgent_ = false;  // a resource that can be cleaned up after a crash is not written down
  std::vector<std::shared_ptr<Completion<bool>>> recording_;  // shared with who waits for the next commit
  std::string folder_;
  bool folder_is_kept_ = false;  // known to be on the disk
  Instant started_at_;           // the worker
  store::Usage usage_;           // that no commit has taken along

  std::shared_ptr<LiveCall> running_;  // shared with the runtime and its followers
  bool warming_up_ = false;
  std::optional<Error> stop_reason_;
  std::unique_ptr<Alarm> deadline_alarm_;
  std::unique_ptr<Alarm> grace_alarm_;
};

}  // namespace sojourn::runtime
