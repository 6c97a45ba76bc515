#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
};

// What becomes of a session that no worker serves and that the store has as active: it goes on, has expired, or has
// failed because it lived in a worker's memory.
store::SessionStatus status_without_worker(const RecoverySurroundings& surroundings,
                                           const store::SessionRecord& session, bool has_open_tasks);

// Makes that durable in one commit: its open calls fail with worker_lost, its resources are cleaned up or reported as
// leaked. A session that is over already stays what it is. Returns when the session will expire, if it goes on and
// ever will. Errors: those of the store.
Async<std::optional<Time>> settle_session(const RecoverySurroundings& surroundings, std::string session_id);

// The same for one session among many: where it cannot be settled that is logged, and whoever asks for it later tries
// again. Returns when to look at it again, if ever.
Async<std::optional<Time>> settle_or_log(RecoverySurroundings surroundings, std::string session_id);

// Settles every session for which the last server left something open. Returns those that go on and will expire one
// day, with that time. Errors: those of the store; sessions settled before stay settled.
Async<std::vector<std::pair<Time, std::string>>> settle_leftovers(RecoverySurroundings surroundings);

}  // namespace sojourn::runtime
