#include "sojourn/session/lifecycle.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::session {

namespace {

constexpr std::size_t stage_bytes = 64;

void check_name(std::string_view stage) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (stage.empty() || stage.size() > stage_bytes || !std::ranges::all_of(stage, allowed)) {
    throw Error(ErrorCode::invalid_request, fmt::format("'{}' is no stage: it has 1 to {} of a-z, 0-9, _ and -",
                                                        to_valid_utf8(stage), stage_bytes));
  }
}

}  // namespace

Lifecycle Lifecycle::open() {
  Lifecycle lifecycle;
  lifecycle.open_ = true;
  lifecycle.first_ = "created";
  return lifecycle;
}

Lifecycle::Lifecycle(std::string name, std::string first, std::map<std::string, std::set<std::string>> moves,
                     std::string error_stage)
    : name_(std::move(name)), first_(std::move(first)), moves_(moves.begin(), moves.end()) {
  check_name(first_);
  moves_.try_emplace(first_);
  for (const auto& [stage, next] : moves) {
    check_name(stage);
    for (const std::string& follower : next) {
      check_name(follower);
      moves_.try_emplace(follower);
    }
  }
  if (!error_stage.empty()) {
    check_name(error_stage);
    for (auto& [stage, next] : moves_) {
      if (!next.empty() && stage != error_stage) next.insert(error_stage);
    }
    moves_.try_emplace(error_stage);
  }

  std::set<std::string> reached{first_};
  std::vector<std::string> open_ends{first_};
  while (!open_ends.empty()) {
    const std::string stage = std::move(open_ends.back());
    open_ends.pop_back();
    for (const std::string& next : moves_.find(stage)->second) {
      if (reached.insert(next).second) open_ends.push_back(next);
    }
  }
  for (const auto& [stage, next] : moves_) {
    if (!reached.contains(stage)) {
      throw Error(ErrorCode::invalid_request, fmt::format("stage '{}' cannot be reached from '{}'", stage, first_));
    }
  }
}

bool Lifecycle::is_final(std::string_view stage) const {
  const auto found = moves_.find(stage);
  return found != moves_.end() && found->second.empty();
}

std::vector<std::string> Lifecycle::allowed_after(std::string_view stage) const {
  const auto found = moves_.find(stage);
  if (found == moves_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

void Lifecycle::check(std::string_view from, std::string_view to) const {
  check_name(to);
  if (open_) return;
  const std::vector<std::string> allowed = allowed_after(from);
  if (std::ranges::find(allowed, to) != allowed.end()) return;
  const std::string unknown = has(to) ? "" : fmt::format(" (there is no stage '{}')", to);
  const std::string choice =
      allowed.empty() ? fmt::format("'{}' is final", from) : fmt::format("allowed: {}", fmt::join(allowed, ", "));
  throw Error(ErrorCode::stage_not_allowed,
              fmt::format("a session cannot move from '{}' to '{}'{}; {}", from, to, unknown, choice),
              {{"from", from}, {"to", to}, {"allowed", JsonArray(allowed.begin(), allowed.end())}});
}

}  // namespace sojourn::session
