#include "sojourn/runtime/counts.hpp"

#include <algorithm>
#include <chrono>

#include "sojourn/base/json.hpp"

namespace sojourn::runtime {

namespace {

constexpr std::size_t kind_bytes = 64;

}  // namespace

void Durations::add(Instant::duration took) {
  const auto rounded = std::chrono::ceil<Microseconds>(took);
  const auto bucket = std::ranges::lower_bound(bounds, rounded) - bounds.begin();
  ++counts_[static_cast<std::size_t>(bucket)];
  sum_ += rounded;
}

AppCounts& Counts::of_app(std::string_view name) {
  const auto found = apps_.find(name);
  return found != apps_.end() ? found->second : apps_.emplace(name, AppCounts()).first->second;
}

void Counts::resource_registered(std::string_view kind) {
  const std::string name = to_valid_utf8(kind.substr(0, kind_bytes));
  const bool has_room = resources_.size() < most_kinds || resources_.contains(name);
  ++resources_[has_room ? name : "other"];
}

}  // namespace sojourn::runtime
