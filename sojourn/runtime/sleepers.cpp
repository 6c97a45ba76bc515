#include "sojourn/runtime/sleepers.hpp"

#include <algorithm>

namespace sojourn::runtime {

Sleepers::Sleepers(Executor executor, Clock& clock, std::function<void()> wake)
    : executor_(std::move(executor)), clock_(clock), wake_(std::move(wake)) {}

void Sleepers::add(Time due, std::string session_id) {
  by_time_.emplace(due, std::move(session_id));
  arm();
}

void Sleepers::remove(Time due, const std::string& session_id) {
  by_time_.erase({due, session_id});
}

std::optional<std::string> Sleepers::take_due() {
  if (by_time_.empty() || by_time_.begin()->first > clock_.now()) {
    arm();
    return std::nullopt;
  }
  return std::move(by_time_.extract(by_time_.begin()).value().second);
}

void Sleepers::close() {
  closed_ = true;
  alarm_.reset();
}

// One that was removed leaves the alarm alone: it rings for nothing then.
void Sleepers::arm() {
  if (closed_ || by_time_.empty()) return;
  const Microseconds wait = by_time_.begin()->first - clock_.now();
  const Instant next = clock_.instant() + std::min<Microseconds>(wait, longest_look_away);
  if (alarm_ && alarm_at_ <= next) return;
  alarm_at_ = next;
  alarm_ = clock_.set_alarm(next, executor_, [this] {
    alarm_.reset();
    wake_();
  });
}

}  // namespace sojourn::runtime
