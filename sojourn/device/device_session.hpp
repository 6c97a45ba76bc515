#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/device/board.hpp"
#include "sojourn/device/session_errors.hpp"
#include "sojourn/session/resource_tracker.hpp"
#include "sojourn/session/session.hpp"

// Work on one board from its beginning to its end: state, deployed methods, set-up and teardown, temporary files and
// other resources, of which nothing stays on the board when the session ends (seed 002).
namespace sojourn::device {

struct ResourceUsageStats {
  std::size_t total_resources = 0;
  std::int64_t total_resource_cost = 0;
  std::map<std::string, std::size_t> resources_by_type;
  std::size_t deployed_methods = 0;
};

// Code that runs once for a session: set-up before its first operation, teardown at its end, lowest order first.
struct Step {
  std::string name;
  std::string code;
  int order = 0;
  bool ignore_errors = false;
  Milliseconds timeout = Milliseconds(30'000);
  SourcePlace place = {"<step>", 1};
};

// Threads: one executor. Lifetime: its board and clock outlive it; end it before it is destroyed.
class DeviceSession {
 public:
  struct Options {
    bool resource_tracking = true;
    Milliseconds cleanup_timeout =
        Milliseconds(30'000);  // of one resource, and of one teardown step that has no other
  };

  DeviceSession(std::string id, Board& board, Capabilities capabilities, Executor executor, Clock& clock,
                Options options);
  ~DeviceSession();  // asserts that it was ended or abandoned
  DeviceSession(const DeviceSession&) = delete;
  DeviceSession& operator=(const DeviceSession&) = delete;

  const std::string& id() const { return state_.id(); }
  Time created_at() const { return created_at_; }
  Instant last_use() const { return last_use_; }  // when an operation began, or the session
  bool is_active() const { return active_; }
  Board& board() { return board_; }
  const Capabilities& capabilities() const { return capabilities_; }

  // What operations keep between them, in the host's memory.
  session::Session& state() { return state_; }

  // Resources of the caller's own; with tracking off, whoever acquires one must release it.
  // Errors: those of ResourceTracker::add; session_ended.
  void add_resource(session::Resource resource);
  bool release_resource(std::string_view id) { return resources_.release(id); }
  ResourceUsageStats resource_stats() const;

  // Errors: session_ended; already_exists for a name; invalid_request for a set-up after the first operation.
  void add_setup(Step step);
  void add_teardown(Step step);

  // Runs code, an expression, or a function that stays deployed until the session ends; set-up runs before the first.
  // After the board has started anew, set-up runs again and functions are deployed again: what is declared is
  // restored, what operations did is not repeated. Errors: session_ended; those of Board. Order:  one at a time.
  Async<std::string> exec(std::string code, Instant deadline, RunOptions options = {});
  Async<Value> eval(std::string expression, Instant deadline, RunOptions options = {});
  Async<Value> call(Function function, std::vector<Value> arguments, Instant deadline, RunOptions options = {});

  // Tears down, cleans up the resources newest first and forgets the methods, each until its own deadline, all of
  // them tried. The session is over whatever fails. Idempotent. Errors: ResourceCleanupError with every failure.
  Async<void> end();

  // Is over at once, without a word to the board; returns the ids of what was left there.
  std::vector<std::string> abandon();

 private:
  void require_active() const;
  Async<void> prepare(Instant deadline);
  Async<void> tear_down(JsonArray& failures);
  Async<void> forget_methods(JsonArray& failures);

  session::Session state_;
  Board& board_;
  Capabilities capabilities_;
  Clock& clock_;
  Options options_;
  Time created_at_;
  Instant last_use_;
  bool active_ = true;
  std::uint64_t prepared_boot_ = 0;  // the boot in which set-up ran; boots count from 1
  session::ResourceTracker resources_;
  std::vector<Step> setups_;  // by order
  std::vector<Step> teardowns_;
  std::set<std::string> methods_;  // deployed by this session
  AsyncMutex turn_;
};

}  // namespace sojourn::device
