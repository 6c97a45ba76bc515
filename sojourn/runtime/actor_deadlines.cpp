#include <algorithm>

#include "sojourn/runtime/actor.hpp"

// When an actor's session expires or goes to rest.
namespace sojourn::runtime {

using store::SessionStatus;

void Actor::touch() {
  last_active_ = around_.serving.clock.instant();
}

std::optional<Instant> Actor::idle_deadline() const {
  if (!record().idle_timeout || last_scheduled()) return std::nullopt;
  return last_active_ + *record().idle_timeout;
}

// When the session leaves memory: some time after its worker, or with it where the app allows that.
std::optional<Instant> Actor::rest_deadline() const {
  if (!serving_.has_worker()) return std::max(last_active_ + around_.rest_after, rests_not_before_);
  if (!app_->info().recover || !app_->info().sleep_after) return std::nullopt;
  return std::max(last_active_ + *app_->info().sleep_after, rests_not_before_);
}

std::optional<Instant> Actor::next_deadline() const {
  std::optional<Instant> next = lifetime_end_;
  const auto take = [&next](std::optional<Instant> deadline) {
    if (deadline) next = next ? std::min(*next, *deadline) : deadline;
  };
  if (!running_) {
    take(idle_deadline());
    take(rest_deadline());
  }
  return next;
}

std::optional<Time> Actor::expires_at() const {
  Clock& clock = around_.serving.clock;
  std::optional<Instant> end = lifetime_end_;
  if (const auto idle = idle_deadline()) end = end ? std::min(*end, *idle) : *idle;
  const Time now = clock.now();
  std::optional<Time> time;
  if (end) time = now + std::chrono::floor<Microseconds>(*end - clock.instant());
  // Idle it is once the last scheduled call was there.
  if (const auto last = last_scheduled(); last && record().idle_timeout) {
    const Time idle = std::max(*last, now) + *record().idle_timeout;
    time = time ? std::min(*time, idle) : idle;
  }
  return time;
}

// A call that moves the deadline back leaves the alarm alone: when it rings too early it is set anew.
void Actor::arm() {
  if (over_) return;
  const std::optional<Instant> next = next_deadline();
  if (!next || (alarm_ && alarm_at_ <= *next)) return;
  alarm_at_ = *next;
  alarm_ = around_.serving.clock.set_alarm(*next, around_.serving.executor, [this] { on_alarm(); });
}

void Actor::on_alarm() {
  alarm_.reset();
  if (over_ || ending_) return;
  const Instant now = around_.serving.clock.instant();
  const bool lifetime_over = lifetime_end_ && *lifetime_end_ <= now;
  const auto is_due = [&](std::optional<Instant> deadline) { return !running_ && deadline && *deadline <= now; };
  if (lifetime_over || is_due(idle_deadline())) {
    ending_ = Ending{.status = SessionStatus::expired,
                     .reason = lifetime_over ? "its lifetime is over" : "idle for longer than its time-out",
                     .close_reason = session::CloseReason::expired};
    wake();
  } else if (is_due(rest_deadline())) {
    rests_ = true;
    wake();
  } else {
    arm();
  }
}

}  // namespace sojourn::runtime
