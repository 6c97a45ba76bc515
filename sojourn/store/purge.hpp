#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sojourn/store/store.hpp"

// Removes sessions that are over, whole, with their folders. What was removed stays provable: the store keeps each
// one's number of events, last hash and signature.
namespace sojourn::store {

struct PurgeSteps {
  // Removes what a session has outside the store; asked again where an earlier purge broke off.
  std::function<Async<void>(std::string session_id)> remove_folder;
  // Whether to go on; asked before each session, with the number of those that are gone by now.
  std::function<bool(std::uint64_t so_far)> go_on;
  std::uint64_t most = UINT64_MAX;  // sessions, besides what an earlier purge left
  std::uint64_t* place = nullptr;   // where to begin, 0 for the oldest, and then where to go on by the same query
};

// Ends first what an earlier purge left half done, then removes the sessions that fit, oldest first, until none is
// left. Returns how many it removed. Never one that is active, or still owes a webhook.
// Errors: those of the store and of the steps. What is gone is gone then; the next purge goes on with the rest. A
//         folder that cannot be removed holds nothing else up: it is told of at the end.
// Cost:   a few sessions at a time, so that commits get their turn between.
Async<std::uint64_t> purge(Store& store, SessionQuery query, PurgeSteps steps = {});

}  // namespace sojourn::store
