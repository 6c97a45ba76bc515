#pragma once

#include <functional>
#include <optional>
#include <string>
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
};

// For each session that was left active: its open calls fail with worker_lost, its resources are cleaned up or
// reported as leaked, and it goes on, has expired, or has failed because it lived in its worker's memory. One commit
// a session. Returns the ids of those that go on and will expire one day. Errors: those of the store; sessions
// settled before stay settled.
Async<std::vector<std::string>> settle_leftovers(RecoverySurroundings surroundings);

}  // namespace sojourn::runtime
