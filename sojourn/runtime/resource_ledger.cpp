#include "sojourn/runtime/resource_ledger.hpp"

#include <algorithm>
#include <utility>

namespace sojourn::runtime {

namespace {

bool holds(const std::vector<store::ResourceRecord>& resources, std::string_view id) {
  return std::ranges::find(resources, id, &store::ResourceRecord::id) != resources.end();
}

}  // namespace

void ResourceLedger::add(store::ResourceRecord resource) {
  release(resource.id);
  // A commit adds before it releases, and adding replaces what has the same id.
  std::erase(released_, resource.id);
  added_.push_back(resource);
  open_.push_back(std::move(resource));
}

bool ResourceLedger::release(std::string_view id) {
  const auto has_id = [&](const store::ResourceRecord& resource) { return resource.id == id; };
  if (std::erase_if(open_, has_id) == 0) return false;
  if (std::erase_if(added_, has_id) == 0) released_.emplace_back(id);
  return true;
}

void ResourceLedger::move_into(session::Step& step) {
  step.resources_added = std::exchange(added_, {});
  step.resources_released = std::exchange(released_, {});
}

void ResourceLedger::take_back(std::vector<store::ResourceRecord> added, const std::vector<std::string>& released) {
  for (const std::string& id : released) {
    if (!holds(open_, id)) released_.push_back(id);
  }
  std::erase_if(added, [&](const store::ResourceRecord& resource) {
    return !holds(open_, resource.id) || holds(added_, resource.id);
  });
  added_.insert(added_.begin(), added.begin(), added.end());
}

std::vector<store::ResourceRecord> ResourceLedger::take_open() {
  std::vector<store::ResourceRecord> open = open_;
  std::ranges::reverse(open);
  for (const store::ResourceRecord& resource : open) release(resource.id);
  return open;
}

}  // namespace sojourn::runtime
