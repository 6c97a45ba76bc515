#include "sojourn/device/step.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn::device {

void Steps::add(Step step) {
  if (find(step.name) != nullptr) {
    throw Error(ErrorCode::already_exists, fmt::format("there is a step '{}' already", to_valid_utf8(step.name)));
  }
  const auto place = std::ranges::upper_bound(entries_, step.order, {}, [](const Entry& e) { return e.step.order; });
  entries_.insert(place, {std::move(step)});
}

const Step* Steps::find(std::string_view name) const {
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.step.name == name; });
  return found == entries_.end() ? nullptr : &found->step;
}

std::vector<Step> Steps::all() const {
  std::vector<Step> steps;
  for (const Entry& entry : entries_) steps.push_back(entry.step);
  return steps;
}

bool Steps::any_auto_run() const {
  return std::ranges::any_of(entries_, [](const Entry& entry) { return entry.step.auto_run; });
}

std::optional<Step> Steps::next_due(std::uint64_t boot, bool auto_run_only) const {
  const auto found = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return entry.boot != boot && (entry.step.auto_run || !auto_run_only); });
  if (found == entries_.end()) return std::nullopt;
  return found->step;
}

void Steps::note_run(std::string_view name, std::uint64_t boot) {
  for (Entry& entry : entries_) {
    if (entry.step.name == name) entry.boot = boot;
  }
}

}  // namespace sojourn::device
