#include "sojourn/runtime/live_call.hpp"

#include <algorithm>
#include <utility>

#include "sojourn/base/limits.hpp"

namespace sojourn::runtime {

namespace {

constexpr std::size_t updates_kept = 1'024;
constexpr std::size_t update_bytes_kept = 16 * limits::mebibyte;

}  // namespace

void LiveCall::set_status(store::TaskStatus status, Time now) {
  if (task.status == status || is_final()) return;
  task.status = status;
  task.updated_at = now;
  publish(Update::Kind::status, "null");
}

void LiveCall::publish(Update::Kind kind, store::JsonText text) {
  update_bytes_ += text.size();
  updates_.push_back({kind, next_seq_++, std::move(text)});
  while (updates_.size() > updates_kept || (update_bytes_ > update_bytes_kept && updates_.size() > 1)) {
    update_bytes_ -= updates_.front().text.size();
    updates_.pop_front();
  }
  changed_.notify_all();
}

void LiveCall::finish(CallEnd end) {
  task.status = end.status;
  task.output = std::move(end.output);
  task.error = std::move(end.error);
  task.updated_at = end.time;
  task.ended_at = end.time;
  cancel_event_.notify_all();
  publish(Update::Kind::status, "null");
  over_.notify_all();
}

bool LiveCall::request_cancel() {
  if (cancel_requested_) return false;
  cancel_requested_ = true;
  cancel_event_.notify_all();
  return true;
}

Async<void> LiveCall::wait_final(std::shared_ptr<LiveCall> call) {
  while (!call->is_final()) co_await call->over_.wait();
}

std::deque<Update> LiveCall::updates_after(std::uint64_t seen, std::size_t most_bytes) const {
  std::deque<Update> updates;
  std::size_t bytes = 0;
  for (auto update = std::ranges::upper_bound(updates_, seen, {}, &Update::seq); update != updates_.end(); ++update) {
    bytes += update->text.size();
    if (bytes > most_bytes && !updates.empty()) break;
    updates.push_back(*update);
  }
  return updates;
}

Async<void> LiveCall::wait_update(std::shared_ptr<LiveCall> call, std::uint64_t seen, Clock& clock,
                                  Instant deadline) {
  if (call->last_update() > seen || call->is_final()) co_return;
  co_await call->changed_.wait_until(clock, deadline);
}

}  // namespace sojourn::runtime
