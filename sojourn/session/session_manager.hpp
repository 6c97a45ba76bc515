#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "sojourn/base/random.hpp"
#include "sojourn/session/kept_session.hpp"
#include "sojourn/session/resource_tracker.hpp"

// Sessions inside a program of your own: create them, run operations in them one at a time, end them.
//
// Programs that serve others use the runtime instead, whose actors add queues, workers and expiry.
namespace sojourn::session {

// What an operation may use.
struct InSession {
  Session& session;
  ResourceTracker& resources;
};

struct SessionStatistics {
  std::size_t active = 0;
  std::uint64_t total = 0;  // ever created here
  std::size_t peak = 0;     // most active at once
};

// Threads: one executor.
class SessionManager {
 public:
  struct Options {
    std::size_t max_sessions = 1'000;
    std::string owner = "embedded";
  };

  SessionManager(Executor executor, store::Store& store, Clock& clock, Random& random, Options options);
  ~SessionManager();  // asserts that it was closed
  SessionManager(const SessionManager&) = delete;
  SessionManager& operator=(const SessionManager&) = delete;

  // Returns the new session's id.
  // Errors: too_many_sessions; not_serializable or too_large for the context; those of the store.
  Async<std::string> create(JsonObject context = {});

  // Goes on with session `id`, here or in the store, or creates it under that id.
  // Errors: session_ended when it is over; those of create().
  Async<void> get_or_create(std::string id, JsonObject context = {});

  // Runs `operation` when its turn has come; its state changes are durable when this returns, and dropped if it
  // throws. Errors: session_not_found, session_ended; what `operation` throws; those of Store::commit. Order:
  // operations of one session run one at a time, in the order of the calls.
  Async<Json> execute(std::string id, std::function<Async<Json>(InSession)> operation);

  // Waits for the operations that run or wait, cleans up the session's resources, and ends it.
  // Errors: session_not_found, session_ended; cleanup_failed after the session has ended all the same.
  Async<void> end(std::string id, std::string reason = "ended");

  SessionStatistics statistics() const { return {live_.size(), total_, peak_}; }

  // Cleans up what is open; the sessions stay active in the store, to go on with later. Idempotent.
  // Errors: cleanup_failed, for the first session whose resources could not be released; all are tried.
  Async<void> close();

 private:
  struct Live;

  std::shared_ptr<Live> find(const std::string& id) const;
  void admit();
  std::shared_ptr<Live> keep(std::unique_ptr<KeptSession> kept);
  Async<std::unique_ptr<KeptSession>> begin(std::string id, JsonObject context);

  Executor executor_;
  store::Store& store_;
  Clock& clock_;
  Random& random_;
  Options options_;
  std::map<std::string, std::shared_ptr<Live>> live_;  // shared with the operations that run
  std::uint64_t total_ = 0;
  std::size_t peak_ = 0;
  AsyncMutex opening_;
};

}  // namespace sojourn::session
