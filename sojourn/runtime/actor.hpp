#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/schedule.hpp"
#include "sojourn/runtime/serving.hpp"
#include "sojourn/session/entry.hpp"

// One live session: its queue of calls, served strictly in order, and its time-outs.
//
// An actor at rest is about 2 KiB: it has no coroutine until something arrives, and then one that runs until the
// queue is empty.
namespace sojourn::runtime {

// How a session comes to its end, or to a pause.
struct Ending {
  store::SessionStatus status = store::SessionStatus::ended;  // active: only its worker goes
  std::string reason;
  std::string actor = "server";
  std::optional<Error> error;  // of a failed session
  session::CloseReason close_reason = session::CloseReason::ended;
  bool leaves_memory = true;
};

// What the store has of a session's calls.
struct ActorCalls {
  std::uint64_t last_seq = 0;  // of the newest
  std::vector<store::ScheduledCall> scheduled;
};

// Threads: one executor.
class Actor : public std::enable_shared_from_this<Actor> {
 public:
  struct Surroundings {
    runtime::Surroundings serving;
    TaskGroup& group;
    const Log& log;
    Milliseconds close_grace;
    Milliseconds rest_after;
    std::size_t& waiting_bytes;  // of the queues of all actors
    AsyncMutex& waking_to_end;   // sessions that sleep, one at a time
    Schedule& schedule;
    // The scheduled call of that task; null where it is none any more. Errors: those of the store.
    std::function<Async<std::shared_ptr<LiveCall>>(std::string task_id, std::string app)> scheduled_call;
    std::function<void(const LiveCall&)> on_final;  // a call is final and durable, or dropped
    // The session left memory; it is to be looked at again when it is `due`, if it ever is.
    std::function<void(const std::string& id, std::optional<Time> due)> on_leave;
  };

  // `app` is null for a session without one.
  Actor(const Surroundings& surroundings, std::unique_ptr<session::KeptSession> kept,
        std::shared_ptr<session::App> app, ActorCalls calls);
  ~Actor();

  // Starts the time-outs; once, when the actor is owned.
  void start();

  const store::SessionRecord& record() const { return kept_->record(); }
  const session::App* app() const { return app_.get(); }
  bool is_busy() const { return running_; }
  std::size_t queued() const { return queue_.size(); }
  std::optional<std::size_t> queue_position(const LiveCall& call) const;  // 1 for the next; nothing once it is taken
  JsonObject describe_worker() const { return serving_.describe(); }
  bool has_worker() const { return serving_.has_worker(); }

  // Why nothing more can be asked of a session that is over.
  static Error over_error(const std::string& id, store::SessionStatus status, std::string_view reason);

  // Queues `call` and gives it its number. If `durable`, returns once its acceptance is; its place in the queue is
  // the one it came in with. Errors: session_ended and its kin, queue_full; those of the store, and then the call is
  // dropped. Of these `fenced` says that the session left memory, since another server owns it now. A scheduled call
  // stays scheduled then.
  Async<void> submit(std::shared_ptr<LiveCall> call, bool durable);

  // Takes in a call that is to be submitted at its run_at. Until then the session does not expire for being idle.
  // Durable: when it returns. Errors: as submit(), with queue_full past the queue's bound; invalid_request past the
  // session's lifetime; unavailable past limits::scheduled_calls.
  Async<void> schedule(std::shared_ptr<LiveCall> call);

  // The scheduled call that is due first, and whether that call is scheduled still.
  std::optional<store::ScheduledCall> next_scheduled() const;
  bool has_scheduled(const std::string& task_id) const;

  // Cancels a scheduled call; false where it is none any more. Durable: when it returns, or with the next commit.
  // Errors: unavailable where the session is just leaving memory; those of the store.
  Async<bool> cancel_scheduled(std::string task_id, Error why);

  // The call that runs or waits under this key, or null.
  std::shared_ptr<LiveCall> call_with_key(const std::string& key) const;

  // A call that waits is cancelled in its place; one that runs is asked to stop, then stopped.
  void cancel(const std::shared_ptr<LiveCall>& call, Error why);

  Async<void> keepalive(std::string actor);
  // Errors: queue_full; precondition_failed where the session has another version than `expected` when it is the
  //         write's turn; those of State::set.
  Async<void> change_state(std::vector<std::pair<std::string, std::optional<Json>>> changes, std::string actor,
                           std::optional<std::uint64_t> expected);

  // Appends `entry` at once, also while a call runs: all that wait while a commit goes on are the next one. Returns
  // the session's version then. Durable: when it returns. Order: of the calls, but that one with an expected version
  // may let others pass. Errors: those of over_error; queue_full past limits::waiting_entries or the bytes that may
  // wait; what `write`
  //         throws; precondition_failed; those of the store.
  Async<std::uint64_t> append(session::Entry entry);

  // Opens a worker in its turn, unless there is one: what is returned is set when it is ready, or fails as a call
  // would that could not be served. Errors: those of over_error; queue_full.
  std::shared_ptr<Completion<bool>> warm_up(Milliseconds timeout);

  // Ends the session and returns when that is durable. Errors: those of over_error; those of the store.
  Async<void> end(std::string actor);

  // The server stops: the calls that run or wait fail with `why`, the worker is closed, and the session leaves
  // memory. It goes on under the next server if it can do without its worker, and has failed otherwise.
  Async<void> leave(Error why);

  // Whether the session can go on when its worker is gone.
  bool outlives_worker() const { return app_ == nullptr || app_->info().recover || !serving_.has_worker(); }

 private:
  // What waits for its turn.
  struct Item {
    std::shared_ptr<LiveCall> call;       // or
    std::function<Async<void>()> action;  // which does not throw
    std::size_t bytes = 0;                // of its input, or of the values to write
  };

  // An entry that waits for its commit.
  struct Waiting {
    session::Entry entry;
    Completion<std::uint64_t> done;
    std::optional<Error> refused;
  };
  using Entries = std::vector<std::shared_ptr<Waiting>>;  // shared with who waits for them

  void check_room(std::size_t bytes) const;
  void check_bytes(std::size_t bytes) const;
  Async<void> append_waiting(std::shared_ptr<Actor> self);
  Entries take_entries();
  Async<void> append_together(Entries batch);
  bool write_entries(Entries& batch, session::Draft& draft);
  void check_takes_entries(const session::Draft& draft) const;
  void push(Item item);
  Item take_next();
  void wake();
  Async<void> run(std::shared_ptr<Actor> self);
  Async<void> serve(std::shared_ptr<LiveCall> call);
  Async<void> conclude(std::shared_ptr<LiveCall> call, Outcome outcome);
  Async<void> drop(std::shared_ptr<LiveCall> call, Error why);
  Async<void> finish();
  bool is_to_wake_for(const Ending& ending) const;
  Async<void> wake_to_end(const Ending& ending);
  void note_failed_start(const Error& error);
  Async<void> end_durably(const Ending& ending);
  Async<void> empty_queue(Error why);
  void withdraw(const LiveCall& call);
  void check_schedule(const LiveCall& call) const;
  bool take_scheduled(const std::string& task_id);
  Async<void> drop_scheduled(Error why);
  std::optional<Time> last_scheduled() const;
  Async<void> take_turn_to_write(std::vector<store::StateChange> changes, std::string actor,
                                 std::optional<std::uint64_t> expected, std::shared_ptr<Completion<bool>> done);
  Async<void> take_turn_to_warm_up(Milliseconds timeout, std::shared_ptr<Completion<bool>> ready);
  Async<void> write_state(std::vector<store::StateChange> changes, std::string actor,
                          std::optional<std::uint64_t> expected);
  Async<void> serve_next();
  Async<void> rest();
  bool has_nothing_to_commit(const session::Step& step) const;
  Async<void> write_down(std::shared_ptr<Actor> self);
  Async<void> commit(session::Step step);
  Async<bool> commit_or_log(session::Step step, std::string_view what);
  void forget_key(const LiveCall& call);
  void owe(const LiveCall& call, const CallEnd& end, const Error& why);
  void check_open() const;
  void lose_worker();
  void lose_session(const Error& why);

  std::optional<Instant> idle_deadline() const;
  std::optional<Instant> rest_deadline() const;
  std::optional<Instant> next_deadline() const;
  void touch();
  void arm();
  void on_alarm();
  std::optional<Time> expires_at() const;

  void count(const CallEnd& end, const std::optional<Error>& error);

  const Surroundings& around_;
  std::unique_ptr<session::KeptSession> kept_;
  std::shared_ptr<session::App> app_;  // shared with the runtime
  AppCounts& counts_;
  Serving serving_;
  std::list<Item> queue_;          // takes no memory while empty, unlike a deque
  std::size_t waiting_bytes_ = 0;  // of `queue_`
  std::map<std::string, std::shared_ptr<LiveCall>, std::less<>> keyed_;
  std::vector<store::TaskRecord> owed_;         // calls that are over, which a failed commit left open in the store
  std::multimap<Time, std::string> scheduled_;  // calls whose time has not come
  std::vector<std::shared_ptr<LiveCall>> scheduling_;  // that are not durable yet
  std::list<std::shared_ptr<Waiting>> entries_;        // likewise
  bool appending_ = false;
  std::shared_ptr<LiveCall> current_;
  bool running_ = false;
  bool writing_down_ = false;
  bool rests_ = false;          // it leaves memory when nothing waits any more
  std::size_t committing_ = 0;  // commits that go on or wait
  AsyncMutex committing_turn_;  // so that each takes along what the one before it could not make durable
  Instant rests_not_before_;
  bool over_ = false;
  std::optional<Error> fenced_;  // another server owns the session
  std::optional<Ending> ending_;
  Completion<bool> left_;  // the ending is durable and the session out of memory
  std::uint64_t last_seq_;
  Instant last_active_;
  std::optional<Instant> lifetime_end_;
  std::unique_ptr<Alarm> alarm_;
  Instant alarm_at_;
};

}  // namespace sojourn::runtime
