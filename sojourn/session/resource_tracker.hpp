#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

// What a session acquired and must release: whatever happens, each resource is cleaned up once, the newest first.
namespace sojourn::session {

struct Resource {
  std::string id;         // unique among the open ones
  std::string kind;       // "thread", "file", "timer", ...
  std::int64_t cost = 0;  // an estimate in units of the caller's choice
  Time created_at{};
  // Releases it. At its deadline it counts as failed and is asked to stop by terminal cancellation, which it must
  // heed.
  std::function<Async<void>()> cleanup;
  Milliseconds deadline = limits::resource_cleanup;
};

// Sums over the open resources of one kind.
struct ResourceUse {
  std::size_t count = 0;
  std::int64_t cost = 0;
};

// Threads: one executor.
class ResourceTracker {
 public:
  ResourceTracker(Executor executor, Clock& clock) : executor_(std::move(executor)), clock_(clock) {}
  ~ResourceTracker();  // asserts that nothing is open
  ResourceTracker(const ResourceTracker&) = delete;
  ResourceTracker& operator=(const ResourceTracker&) = delete;

  // Takes `resource` over; its created_at is set.
  // Errors: already_exists for an open id; invalid_request without id or cleanup; too_large past
  //         limits::resources_per_session. The resource is not tracked then.
  void add(Resource resource);

  // Forgets a resource that its user released. Whether it was open.
  bool release(std::string_view id);

  std::vector<Resource> open() const;              // oldest first
  std::map<std::string, ResourceUse> use() const;  // by kind

  // Cleans up all that is open, newest first, each until its own deadline; all are tried. Nothing is open afterwards.
  // Errors: cleanup_failed when some failed (details: "failures": [{"id", "kind", "message"}]).
  Async<void> cleanup();

 private:
  Executor executor_;
  Clock& clock_;
  std::vector<Resource> open_;
};

}  // namespace sojourn::session
