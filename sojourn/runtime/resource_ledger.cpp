#include "sojourn/runtime/resource_ledger.hpp"

#include <algorithm>
#include <utility>

namespace sojourn::runtime {

void ResourceLedger::add(store::ResourceRecord resource) {
  release(resource.id);
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

std::vector<store::ResourceRecord> ResourceLedger::take_open() {
  std::vector<store::ResourceRecord> open = open_;
  std::ranges::reverse(open);
  for (const store::ResourceRecord& resource : open) release(resource.id);
  return open;
}

}  // namespace sojourn::runtime
