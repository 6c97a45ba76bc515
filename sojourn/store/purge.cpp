#include "sojourn/store/purge.hpp"

#include <algorithm>
#include <exception>
#include <set>
#include <vector>

namespace sojourn::store {

namespace {

constexpr std::uint64_t sessions_at_once = 32;

// Sessions whose folders could not be removed, so that they stay unswept.
struct Stuck {
  std::set<std::string> ids;
  std::exception_ptr why;  // the first of them could not
};

Async<bool> remove_folder(const PurgeSteps& steps, const std::string& id, Stuck& stuck) {
  if (!steps.remove_folder) co_return true;
  try {
    co_await steps.remove_folder(id);
    co_return true;
  } catch (...) {
    if (stuck.ids.empty()) stuck.why = std::current_exception();
  }
  stuck.ids.insert(id);
  co_return false;
}

// Whether there was nothing to do, or all of it was done that could be.
Async<bool> sweep_all(Store& store, const PurgeSteps& steps, std::uint64_t& gone, Stuck& stuck) {
  for (;;) {
    std::vector<std::string> ids = co_await store.unswept(stuck.ids.size() + sessions_at_once);
    std::erase_if(ids, [&](const std::string& id) { return stuck.ids.contains(id); });
    if (ids.empty()) co_return true;
    for (const std::string& id : ids) {
      if (steps.go_on && !steps.go_on(gone)) co_return false;
      if (!co_await remove_folder(steps, id, stuck)) continue;
      co_await store.sweep(id);
      ++gone;
    }
  }
}

}  // namespace

Async<std::uint64_t> purge(Store& store, SessionQuery query, PurgeSteps steps) {
  Stuck stuck;
  std::uint64_t resumed = 0;
  std::uint64_t gone = 0;
  bool more = co_await sweep_all(store, steps, resumed, stuck);
  std::uint64_t place = steps.place == nullptr ? 0 : *steps.place;
  while (more && gone < steps.most && (!steps.go_on || steps.go_on(gone))) {
    const std::uint64_t wanted = std::min(sessions_at_once, steps.most - gone);
    const Purgeable found = co_await store.purgeable(query, wanted, place);
    std::vector<std::string> ids;
    for (const Purgeable::Session& session : found.sessions) ids.push_back(session.id);
    if (!ids.empty()) {
      co_await store.purge(std::move(ids));
      more = co_await sweep_all(store, steps, gone, stuck);
    }
    place = found.next;
    more = more && place != 0;
  }
  if (steps.place != nullptr) *steps.place = place;
  if (stuck.why) std::rethrow_exception(stuck.why);
  co_return gone;
}

}  // namespace sojourn::store
