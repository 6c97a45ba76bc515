#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/device/device_session.hpp"

// The sessions of a program's boards: at most one on each, so many in all, each ended when it was idle for too long
// (seed 002).
namespace sojourn::device {

enum class DeviceSessionState { inactive, active, shutdown, disposed };

std::string_view to_string(DeviceSessionState state);

struct SessionManagementOptions {
  Seconds default_session_timeout = std::chrono::minutes(30);  // idle
  std::size_t max_concurrent_sessions = 10;
  bool enable_session_metrics = true;
  bool enable_resource_tracking = true;
  Seconds resource_cleanup_timeout = Seconds(30);
  Seconds capability_timeout = Seconds(10);
  bool fallback_capabilities = false;  // a board that cannot be asked is taken for one without modules

  // What every session declares. The set-up among it that runs by itself does so before the session is handed out.
  std::vector<Step> setups;
  std::vector<Step> teardowns;

  // How often boards are looked after that have threads, or set-up that runs by itself (DeviceSession::watch); after
  // a failure each wait is twice the last, up to half a minute.
  Milliseconds watch_interval{1'000};
  Seconds watch_timeout{30};
};

// Nothing is counted without enable_session_metrics; SessionMetrics has more.
struct SessionStats {
  std::size_t active_session_count = 0;
  std::uint64_t total_session_count = 0;
  std::size_t max_session_count = 0;  // most at once
};

// Threads:  one executor.
// Lifetime: the boards outlive their sessions, and clock, random and log the manager.
class DeviceSessionManager {
 public:
  using Options = SessionManagementOptions;

  DeviceSessionManager(Executor executor, Clock& clock, Random& random, Log& log, Options options = {});
  ~DeviceSessionManager();  // asserts that it was closed
  DeviceSessionManager(const DeviceSessionManager&) = delete;
  DeviceSessionManager& operator=(const DeviceSessionManager&) = delete;

  // The session that was created or used last, if it is not over.
  std::optional<std::string> current_session_id() const;
  DeviceSessionState state() const { return state_; }
  // Of the current session's board.
  std::optional<Capabilities> capabilities() const;

  // Begins a session on `board`, asking it what it can do, once the one before it there has cleaned up. The session
  // lives until it is ended, here or for being idle.
  // Errors: SessionError: worker_leased while the board has one; too_many_sessions; unavailable after close(); those
  //         of Board::capabilities.
  Async<std::shared_ptr<DeviceSession>> create(Board& board);

  // The board's session, or a new one. Errors: those of create() but worker_leased.
  Async<std::shared_ptr<DeviceSession>> get_or_create(Board& board);

  // Runs `operation` in the board's session; where it has none, in one that ends with it.
  // Errors: those of get_or_create(); what `operation` throws; ResourceCleanupError if it does not.
  template <class T>
  Async<T> execute_in_session(Board& board, std::function<Async<T>(DeviceSession&)> operation);

  // Errors: SessionError session_not_found; ResourceCleanupError, when it has ended all the same.
  Async<void> end(std::string id);

  SessionStats stats() const;
  const SessionMetrics& metrics() const { return metrics_; }

  // Called at each change of state.
  void on_state_changed(std::function<void(DeviceSessionState)> hear) { hear_ = std::move(hear); }

  // Called with each thread of which watching brings news.
  void on_thread_news(std::function<void(const BackgroundThreadInfo&)> hear) { hear_thread_ = std::move(hear); }

  // Ends all sessions; none begins any more. Idempotent. Errors: ResourceCleanupError with the failures of all.
  Async<void> close();

  // The emergency: all sessions are over at once and no board is spoken to; what is left there is in the log. close()
  // it all the same.
  void dispose();

 private:
  // Shared with who uses the session; `session` with them too.
  struct Live {
    std::shared_ptr<DeviceSession> session;
    Board* board;
    int users = 0;  // operations that run in it
    Instant last_use;
    std::unique_ptr<Alarm> alarm;
    std::unique_ptr<Alarm> watch;
  };

  void go(DeviceSessionState state);
  std::shared_ptr<Live> find(const Board& board) const;
  void touch(Live& live);
  void watch(const std::shared_ptr<Live>& live);
  void expire_if_idle(const std::shared_ptr<Live>& live);
  void watch_later(const std::shared_ptr<Live>& live, Milliseconds wait);
  Async<void> watch_board(std::shared_ptr<Live> live, Milliseconds wait);
  void note_news(const BackgroundThreadInfo& thread);
  Async<void> declare(DeviceSession& session);
  Async<std::shared_ptr<Live>> begin(Board& board);
  Async<Capabilities> ask(Board& board);
  Async<void> finish(std::shared_ptr<Live> live);
  Async<void> finish_quietly(std::shared_ptr<Live> live);

  Executor executor_;
  Clock& clock_;
  Random& random_;
  Log& log_;
  Options options_;
  DeviceSessionState state_ = DeviceSessionState::inactive;
  std::map<std::string, std::shared_ptr<Live>> live_;  // by the session's id
  std::string current_;
  SessionStats stats_;
  SessionMetrics metrics_;
  std::function<void(DeviceSessionState)> hear_;
  std::function<void(const BackgroundThreadInfo&)> hear_thread_;
  AsyncMutex beginning_;
  std::set<const Board*> ending_;  // whose sessions clean up
  Event ended_;
  TaskGroup expiring_;
};

template <class T>
Async<T> DeviceSessionManager::execute_in_session(Board& board, std::function<Async<T>(DeviceSession&)> operation) {
  const bool own = find(board) == nullptr;
  const auto session = co_await get_or_create(board);
  const auto live = live_.at(session->id());
  ++live->users;
  std::exception_ptr error;
  std::optional<T> result;
  try {
    result.emplace(co_await operation(*session));
  } catch (...) {
    error = std::current_exception();
  }
  --live->users;
  touch(*live);
  if (own && session->is_active()) {
    if (error) {
      co_await finish_quietly(live);
    } else {
      co_await finish(live);
    }
  }
  if (error) std::rethrow_exception(error);
  co_return std::move(*result);
}

}  // namespace sojourn::device
