#include "sojourn/store/purge.hpp"

#include <algorithm>
#include <vector>

namespace sojourn::store {

namespace {

constexpr std::uint64_t sessions_at_once = 32;

// Whether there was nothing to do, or all of it was done.
Async<bool> sweep_all(Store& store, const PurgeSteps& steps, std::uint64_t& gone) {
  for (;;) {
    const std::vector<std::string> ids = co_await store.unswept(sessions_at_once);
    if (ids.empty()) co_return true;
    for (const std::string& id : ids) {
      if (steps.go_on && !steps.go_on(gone)) co_return false;
      if (steps.remove_folder) co_await steps.remove_folder(id);
      co_await store.sweep(id);
      ++gone;
    }
  }
}

}  // namespace

Async<std::uint64_t> purge(Store& store, SessionQuery query, PurgeSteps steps) {
  std::uint64_t resumed = 0;
  std::uint64_t gone = 0;
  if (!co_await sweep_all(store, steps, resumed)) co_return 0;
  while (gone < steps.most && (!steps.go_on || steps.go_on(gone))) {
    const std::uint64_t wanted = std::min(sessions_at_once, steps.most - gone);
    if (co_await store.purge(query, wanted) == 0 || !co_await sweep_all(store, steps, gone)) break;
  }
  co_return gone;
}

}  // namespace sojourn::store
