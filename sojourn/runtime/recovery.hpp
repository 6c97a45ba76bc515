#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/store/store.hpp"

// What a server that went without closing left open is settled before the next one serves.
namespace sojourn::runtime {

struct RecoverySurroundings {
  store::Store& store;
  Clock& clock;
  const Log& log;
  std::string owner;
  std::function<Async<std::string>(store::SessionRecord)> make_folder;
  std::function<Async<std::optional<std::string>>(store::ResourceRecord, std::string folder)> clean_up;
  std::function<bool(const std::string& app)> outlives_worker;  // whether sessions of that app can go on
  std::function<void(const std::string& app, store::SessionStatus)> is_over;  // a session is settled so
  std::function<void(std::size_t calls)> scheduled;                           // so many scheduled calls were found
  std::function<void(const store::TaskRecord&)> is_dropped;  // that scheduled call is over without having run
};

// Whether a session has calls that are not over.
struct OpenCalls {
  bool begun = false;      // or accepted to be run at once
  bool scheduled = false;  // whose time has not come
};

// What becomes of a session that no worker serves and that the store has as active: it goes on, has expired, or has
// failed because it lived in a worker's memory.
store::SessionStatus status_without_worker(const RecoverySurroundings& surroundings,
                                           const store::SessionRecord& session, OpenCalls calls);

// Makes that durable in one commit: its open calls fail with worker_lost, its resources are cleaned up or reported as
// leaked. Scheduled calls stay, but those of a session that is over are cancelled, or fail with it. A session that is
// over already stays what it is. Returns when the session will expire, if it goes on and ever will; one with
// scheduled calls only by its lifetime. Errors: those of the store.
Async<std::optional<Time>> settle_session(const RecoverySurroundings& surroundings, std::string session_id);

// The same for one session among many: where it cannot be settled that is logged, and whoever asks for it later tries
// again. Returns when to look at it again, if ever.
Async<std::optional<Time>> settle_or_log(RecoverySurroundings surroundings, std::string session_id);

// Sessions that go on.
struct GoingOn {
  std::vector<std::pair<Time, std::string>> sessions;  // that will expire one day, with that time
  std::vector<store::ScheduledSession> scheduled;      // also some that are over meanwhile
};

// Settles every session for which the last server left something open.
// Errors: those of the store; sessions settled before stay settled.
Async<GoingOn> settle_leftovers(RecoverySurroundings surroundings);

// What a session waits for.
struct Waiting {
  std::optional<Time> next_call;
  std::optional<Time> expires_at;
};

// Lets the scheduled calls of a session fail whose time has come. Errors: those of the store.
Async<Waiting> fail_due_calls(RecoverySurroundings surroundings, std::string session_id, Error why);

}  // namespace sojourn::runtime
