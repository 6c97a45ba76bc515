#include "sojourn/session/resource_tracker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <memory>
#include <utility>

#include "sojourn/base/event.hpp"
#include "sojourn/base/task_group.hpp"

namespace sojourn::session {

namespace {

// Runs one clean-up and keeps how it ended. The clean-up is copied: its resource may be gone before it ends.
Async<void> clean(std::function<Async<void>()> cleanup, std::shared_ptr<Completion<std::string>> outcome) {
  std::string failure;
  try {
    co_await cleanup();
  } catch (...) {
    failure = to_error(std::current_exception()).message();
    if (failure.empty()) failure = "failed without a message";
  }
  outcome->set(std::move(failure));
}

}  // namespace

ResourceTracker::~ResourceTracker() {
  assert(open_.empty());
}

void ResourceTracker::add(Resource resource) {
  if (resource.id.empty()) throw Error(ErrorCode::invalid_request, "a resource needs an id");
  if (!resource.cleanup) {
    throw Error(ErrorCode::invalid_request, fmt::format("resource '{}' says not how it is cleaned up", resource.id));
  }
  if (std::ranges::find(open_, resource.id, &Resource::id) != open_.end()) {
    throw Error(ErrorCode::already_exists, fmt::format("resource '{}' is open already", resource.id));
  }
  if (open_.size() >= limits::resources_per_session) {
    throw Error(ErrorCode::too_large,
                fmt::format("a session has at most {} resources", limits::resources_per_session));
  }
  resource.created_at = clock_.now();
  open_.push_back(std::move(resource));
}

bool ResourceTracker::release(std::string_view id) {
  return std::erase_if(open_, [&](const Resource& resource) { return resource.id == id; }) > 0;
}

std::vector<Resource> ResourceTracker::open() const {
  return open_;
}

std::map<std::string, ResourceUse> ResourceTracker::use() const {
  std::map<std::string, ResourceUse> use;
  for (const Resource& resource : open_) {
    ResourceUse& of_kind = use[resource.kind];
    ++of_kind.count;
    of_kind.cost += resource.cost;
  }
  return use;
}

Async<void> ResourceTracker::cleanup() {
  JsonArray failures;
  TaskGroup group(executor_);
  while (!open_.empty()) {
    const Resource resource = std::move(open_.back());
    open_.pop_back();
    const auto outcome = std::make_shared<Completion<std::string>>();  // owned by this and by the clean-up
    group.spawn(clean(resource.cleanup, outcome));
    std::optional<std::string> failure = co_await outcome->wait_until(clock_, clock_.instant() + resource.deadline);
    if (!failure) {
      failure = fmt::format("was not cleaned up within {} ms", resource.deadline.count());
      group.cancel();
    }
    if (!failure->empty()) {
      failures.push_back(JsonObject{{"id", resource.id}, {"kind", resource.kind}, {"message", *failure}});
    }
  }
  co_await group.join();
  if (!failures.empty()) {
    const std::size_t count = failures.size();
    throw Error(ErrorCode::cleanup_failed, fmt::format("{} resource(s) could not be cleaned up", count),
                {{"failures", std::move(failures)}});
  }
}

}  // namespace sojourn::session
