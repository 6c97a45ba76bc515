#include "sojourn/runtime/counts.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

namespace sojourn::runtime {

namespace {

constexpr std::size_t kind_bytes = 64;
constexpr std::int64_t a_day = 86'400'000'000;  // microseconds

// The whole number at `key`, where it is one from `least` to `most`.
std::optional<std::int64_t> number_at(const JsonObject& json, std::string_view key, std::int64_t least,
                                      std::int64_t most) {
  const Json* value = json.if_contains(key);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  const std::int64_t number = value->get_int64();
  return number < least || number > most ? std::nullopt : std::optional(number);
}

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

void Counts::step_finished(std::string_view app, const JsonObject& record) {
  const auto index = number_at(record, "step_index", 1, std::numeric_limits<std::int64_t>::max());
  const auto latency = number_at(record, "latency_us", 0, a_day);
  if (!index || !latency) return;
  of_app(app).step_time[*index <= most_steps ? std::to_string(*index) : "other"].add(Microseconds(*latency));
}

void Counts::resource_registered(std::string_view kind) {
  const std::string name = to_valid_utf8(kind.substr(0, kind_bytes));
  const bool has_room = resources_.size() < most_kinds || resources_.contains(name);
  ++resources_[has_room ? name : "other"];
}

}  // namespace sojourn::runtime
