#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "sojourn/base/event.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// A call between its arrival and its end, with what its followers may see of it.
namespace sojourn::runtime {

// One thing that a follower is told. Partial outputs and deltas are provisional: only the final task is durable.
struct Update {
  enum class Kind { status, partial, delta };
  Kind kind = Kind::status;
  std::uint64_t seq = 0;  // from 1 within the call
  store::JsonText text;   // of the partial output or the delta
};

// How a call is over.
struct CallEnd {
  store::TaskStatus status = store::TaskStatus::completed;
  store::JsonText output = "null";
  store::JsonText error = "null";
  Time time{};
};

// Where an output comes from.
struct OutputPlace {
  std::string folder;
  std::string session_id;
  std::string actor;  // who called
};

// Threads: the runtime's executor.
class LiveCall {
 public:
  LiveCall(store::TaskRecord task_record, std::string app_name, Json call_input, std::string caller,
           std::chrono::milliseconds call_timeout)
      : task(std::move(task_record)),
        app(std::move(app_name)),
        input(std::move(call_input)),
        actor(std::move(caller)),
        timeout(call_timeout) {}

  store::TaskRecord task;  // as it stands now; what is final has been committed
  std::string app;
  Json input;
  std::string actor;
  std::chrono::milliseconds timeout;
  bool names_files = false;   // its input names files to bring
  Instant queued_at{};        // when it got its place in the queue
  bool ends_session = false;  // a call without a session has one of its own, which ends with it

  Completion<bool> accepted;  // whether the call may run: its acceptance is durable, or nobody relies on it
  bool is_stored = false;     // its acceptance is durable
  bool is_final() const { return store::is_final(task.status); }

  // Followers are woken by each of these.
  void set_status(store::TaskStatus status, Time now);
  void publish(Update::Kind kind, store::JsonText text);
  void finish(CallEnd end);  // after its commit
  void wake_followers() { changed_.notify_all(); }

  // Asks the call to stop. Whether this was the first time.
  bool request_cancel();
  bool cancel_requested() const { return cancel_requested_; }
  Event& cancel_event() { return cancel_event_; }

  // Returns when the call is final. Lifetime: holds `call` while it waits.
  static Async<void> wait_final(std::shared_ptr<LiveCall> call);

  // What follows `seen`, oldest first: as many as fit into `most_bytes`, but at least one if there is any. Where a
  // slow follower missed some, partial outputs stand for the ones before them; missed deltas are gone.
  std::deque<Update> updates_after(std::uint64_t seen, std::size_t most_bytes = SIZE_MAX) const;
  std::uint64_t last_update() const { return next_seq_ - 1; }

  // Returns at the next update, or at `deadline`.
  static Async<void> wait_update(std::shared_ptr<LiveCall> call, std::uint64_t seen, Clock& clock, Instant deadline);

 private:
  std::deque<Update> updates_;  // the newest, bounded in number and size
  std::size_t update_bytes_ = 0;
  std::uint64_t next_seq_ = 1;
  bool cancel_requested_ = false;
  Event cancel_event_;
  Event changed_;  // anything of the above
  Event over_;     // of many steps, who waits for the answer is woken by the last only
};

}  // namespace sojourn::runtime
