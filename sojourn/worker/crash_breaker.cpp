#include "sojourn/worker/crash_breaker.hpp"

#include <fmt/format.h>

#include "sojourn/base/error.hpp"

namespace sojourn::worker {

void CrashBreaker::note_loss() {
  if (most_ == 0) return;
  losses_.push_back(clock_.instant());
  if (losses_.size() > most_) losses_.pop_front();
}

void CrashBreaker::check(const std::string& app) const {
  if (most_ == 0 || losses_.size() < most_) return;
  const auto passed = clock_.instant() - losses_.front();
  if (passed >= window) return;
  const auto left = std::chrono::ceil<Seconds>(window - passed);
  throw Error(ErrorCode::unavailable,
              fmt::format("app {}: {} of its workers were lost within {} s, so none is started for {} s "
                          "(crashes_per_minute)",
                          app, most_, window.count(), left.count()),
              {{"retry_after", left.count()}});
}

}  // namespace sojourn::worker
