#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/log.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/runtime/counts.hpp"
#include "sojourn/runtime/live_call.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/session/entry.hpp"
#include "sojourn/session/lifecycles.hpp"
#include "sojourn/store/store.hpp"

// Serves sessions: finds or creates the actor of each, hands it calls, and keeps what must be kept.
//
// Everything runs on one executor (a loop): no locks. The work itself runs elsewhere, in worker processes and in the
// store's writer.
namespace sojourn::runtime {

class Actor;
struct ActorCalls;
struct RecoverySurroundings;

struct Options {
  std::string owner = "server";
  std::string journal_key;  // the id of the key that signs how journals end; "" where none does
  // Makes a session's folder and returns its absolute path; empty for none. May block: it runs on `blocking`.
  std::function<std::string(const store::SessionRecord&)> make_folder;
  // Brings the folder that was made to the disk while the session's first worker opens in it: no call is answered
  // before. Empty for nothing. May block, likewise.
  std::function<void(const store::SessionRecord&)> keep_folder;
  // Puts the files that an input names into the session's folder, and says there where they are. Asked for calls with
  // RunRequest::names_files.
  std::function<Async<Json>(Json input, std::string folder)> bring_files;
  // Takes the files that an output names, by {"file": {"path": ...}}, into keeping, and says there where they are.
  std::function<Async<Json>(Json output, OutputPlace place)> keep_files;
  session::Lifecycles lifecycles;
  std::function<void()> webhook_owed = [] {};  // some call with a webhook is over, durably
  Milliseconds cancel_grace{2'000};            // between asking a call to stop and ending its worker
  Milliseconds close_grace{5'000};             // for a worker's clean-up at the end of a session
  Milliseconds rest_after{30'000};             // when a session without a worker leaves memory
};

// A call as it comes in.
struct RunRequest {
  std::string app;       // "" with a session id: the session's
  std::string function;  // "": the app's default
  Json input;
  bool names_files = false;
  std::string session;  // "new", an id, or "": a session of its own that ends with the call
  std::string idempotency_key;
  bool wait = true;   // else accepted durably and answered at once
  bool warm = false;  // of create_session(): its worker is opened before its first call; `wait` for that
  std::string actor = "local";
  std::optional<Seconds> call_timeout;
  std::optional<store::Webhook> webhook;
  std::optional<Time> run_at;  // accepted now and queued then, so it is not to be waited for; past: now

  // For a new session only.
  std::optional<Seconds> session_timeout;
  std::optional<Seconds> lifetime;
  Json setup;
  JsonObject context;
  JsonObject labels;
  JsonObject metadata;
  std::string user;
  std::string lifecycle;  // "" for the open one
};

// What is known of a call.
struct TaskView {
  store::TaskRecord task;
  std::string app;
  std::optional<std::size_t> queue_position = std::nullopt;  // 1 for the next, of a call that waits
};

// A move of a session to another stage.
struct StageMove {
  std::string stage;
  std::string reason;  // "" for none given
  std::string actor = "local";
  std::optional<std::uint64_t> expected_version = std::nullopt;
};

// An attempt at a step, and the version of the session that it is in.
struct StepView {
  store::StepRecord step;
  std::uint64_t version = 0;
};

// What is known of a session.
struct SessionView {
  store::SessionRecord record;
  JsonObject worker;  // of a live worker, such as {"pid": 7}
  std::size_t queued = 0;
  bool busy = false;
  bool asleep = true;  // it was served, and its next call opens another worker with its stored state
};

struct SessionViews {
  std::vector<SessionView> sessions;
  std::string next_cursor;  // "" on the last page
};

struct Statistics {
  std::size_t live_sessions = 0;  // in memory
  std::size_t workers = 0;
  std::size_t calls = 0;      // that run or wait for their turn
  std::size_t scheduled = 0;  // that wait for their time
};

// What there is of an app now, in memory.
struct AppLoad {
  std::size_t sessions = 0;
  std::size_t workers = 0;
  std::uint64_t spares = 0;               // workers that wait for a session
  std::size_t waiting = 0;                // calls and writes
  std::size_t busy = 0;                   // sessions that serve something
  std::vector<std::int64_t> worker_pids;  // of the workers that are processes
};

// Threads: everything on the executor.
class Runtime {
 public:
  Runtime(Executor executor, store::Store& store, Clock& clock, Random& random, const Log& log, Options options);
  ~Runtime();  // asserts that it was closed
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Errors: already_exists for a second app of that name.
  void add_app(std::shared_ptr<session::App> app);  // owned by this and by the sessions it serves

  // Has app_not_found for `name` say why there is none, where no app has that name.
  void note_missing_app(std::string name, std::string why);
  std::vector<session::AppInfo> apps() const;
  JsonObject describe_app(std::string_view name) const;  // App::describe
  session::AppInfo app(const std::string& name) const;   // Errors: app_not_found

  // Settles what a crash left open: calls fail with worker_lost, sessions that lived in a worker's memory fail, what
  // resources left is cleaned up. Call it once, before serving.
  Async<void> recover();

  // Runs a call. Returns its final task if request.wait, else the accepted one.
  // Errors: app_not_found, function_not_found, session_not_found, session_expired, session_ended, worker_lost (the
  //         session has failed), app_mismatch, version_mismatch, invalid_request, idempotency_mismatch, queue_full,
  //         too_many_sessions, unavailable, those of the store. A call that fails once it was taken in is a task with
  //         status failed, not an error.
  // Durable: the final task, or its acceptance, when this returns.
  // Cancel:  the call goes on when who waits for it goes away.
  Async<TaskView> run(RunRequest request);

  Async<TaskView> task(std::string task_id);                              // Errors: task_not_found
  std::shared_ptr<LiveCall> live_call(const std::string& task_id) const;  // null once it is final, or scheduled

  // The call to follow, also one that waits for its time; null for one that is over. Errors: task_not_found.
  Async<std::shared_ptr<LiveCall>> follow(std::string task_id);

  // Asks the call to stop; after the grace its worker is ended. A final one stays as it is. Errors: task_not_found.
  Async<TaskView> cancel(std::string task_id);

  // Creates a session without calling it. request.app may be empty: a session of state, steps and events only.
  // Errors: as run(); with `warm` and `wait` what its worker could not be opened with, and details.session_id.
  Async<SessionView> create_session(RunRequest request);
  Async<SessionView> session(std::string session_id);  // Errors: session_not_found
  Async<SessionView> keepalive(std::string session_id, std::string actor);

  // A page of those that fit, newest first; as Store::list().
  Async<SessionViews> sessions(store::SessionQuery query, std::string cursor, std::size_t limit);

  // Cancels the calls that wait and, after the grace, the one that runs; closes the worker; ends the session durably.
  // Errors: session_not_found, session_expired, session_ended.
  Async<void> end_session(std::string session_id, std::string actor);

  // Appends `entry` to the session at once, also while a call runs, and returns the session's version then. Entries
  // of one session that wait together are one commit. Durable: when it returns. Errors: what entry.write throws;
  // precondition_failed; queue_full; session_not_found; session_expired,
  //         session_ended and worker_lost of one that is over, unless entry.also_after_end; those of the store.
  Async<std::uint64_t> append(std::string session_id, session::Entry entry);

  // Moves the session to a stage. Durable: when it returns. Errors: stage_not_allowed, invalid_request for a name of
  // another shape, too_large for the reason; not_found for a lifecycle that is there no more; those of append().
  Async<SessionView> move_stage(std::string session_id, StageMove move);

  // Starts, ends or reports a step. Durable: when it returns.
  // Errors: those of session::check_step(), session::write_step() and append().
  Async<StepView> change_step(std::string session_id, session::StepChange change,
                              std::optional<std::uint64_t> expected_version = std::nullopt);

  // The lifecycle of a session. Errors: not_found where it is there no more.
  const session::Lifecycle& lifecycle_of(const store::SessionRecord& session) const;

  // The session as it was last committed, with its state as JSON texts by key. Errors: session_not_found.
  Async<store::Snapshot> stored(std::string session_id);

  // Writes to the session's state in its turn among the calls. Durable: when it returns.
  // Errors: precondition_failed where the session has another version than `expected` when that turn has come; those
  //         of State::set, and those of end_session().
  Async<void> change_state(std::string session_id, std::vector<std::pair<std::string, std::optional<Json>>> changes,
                           std::string actor, std::optional<std::uint64_t> expected = std::nullopt);

  Statistics statistics() const;

  // Both by the app's name; sessions without an app have "".
  const Counts& counts() const;
  std::map<std::string, AppLoad> load() const;
  bool is_draining() const;

  // Takes no more calls, lets those that run finish until `deadline`, fails the rest, closes every worker.
  // Idempotent.
  Async<void> close(Instant deadline);

  // Makes a close() that waits go on at once.
  void hurry();

 private:
  struct Parts;

  static Async<std::string> make_folder(Parts& parts, store::SessionRecord record);
  static Async<void> keep_folder(Parts& parts, store::SessionRecord record);
  SessionView view(store::SessionRecord stored) const;
  TaskView view(const LiveCall& call) const;
  std::shared_ptr<session::App> find_app(std::string_view name) const;
  Async<std::shared_ptr<Actor>> begin_session(const RunRequest& request, std::shared_ptr<session::App> app,
                                              std::string opening_key);
  // To call a session that is only in the store takes room for one more: its worker. To end it does not.
  enum class Purpose { call, other };
  Async<std::shared_ptr<Actor>> find_session(std::string session_id, Purpose purpose = Purpose::other);
  Async<std::shared_ptr<Actor>> adopt_session(std::string session_id, Purpose purpose);
  void check_room_for(const session::App& app) const;
  bool is_unsettled(const store::Snapshot& stored) const;
  Async<std::optional<store::Snapshot>> load_settled(std::string session_id);
  Async<void> settle(std::string session_id);
  Async<void> try_to_settle(std::string session_id);
  Async<std::optional<std::uint64_t>> append_after_end(std::string session_id, const session::Entry& entry);
  static RecoverySurroundings recovery(Parts& parts);
  static Async<void> end_overslept(Parts& parts);
  std::shared_ptr<Actor> keep(std::unique_ptr<session::KeptSession> kept, std::shared_ptr<session::App> app,
                              ActorCalls calls);
  std::shared_ptr<LiveCall> make_call(RunRequest& request, const Actor& actor) const;
  static void choose_function(RunRequest& request, const session::AppInfo& info);
  Async<void> warm_up(std::string session_id, std::optional<Seconds> timeout, bool wait);
  Async<std::string> open_session(const RunRequest& request, std::shared_ptr<session::App> app, bool one_call);
  Async<std::shared_ptr<LiveCall>> take_in(RunRequest& request, std::shared_ptr<session::App> app, bool one_call);
  Async<std::optional<TaskView>> first_call(const RunRequest& request);
  Async<TaskView> answer(std::shared_ptr<LiveCall> call, bool wait) const;
  Async<Json> call_app(std::string app, std::string function, Json input, std::string actor);
  void check_serving() const;
  void check_run_at(const RunRequest& request) const;
  Async<std::shared_ptr<LiveCall>> scheduled_call(std::string task_id, std::string app);
  Async<void> cancel_scheduled(store::TaskRecord task);
  Async<std::optional<Time>> take_up(std::string session_id);
  Async<std::optional<Time>> queue_due(std::string session_id);
  Async<std::optional<Time>> fail_due(std::string session_id, Error why);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sojourn::runtime
