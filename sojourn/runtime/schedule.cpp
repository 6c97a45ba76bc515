#include "sojourn/runtime/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/planned_call.hpp"

namespace sojourn::runtime {

namespace {

constexpr std::size_t most_takers = 8;  // so that one session does not wait for another's commit
constexpr std::size_t least_sweep = 64;

}  // namespace

Schedule::Schedule(TaskGroup& group, Clock& clock, TakeUp take_up)
    : group_(group),
      take_up_(std::move(take_up)),
      due_(group.executor(), clock, [this] { wake(); }),
      sweep_at_(least_sweep) {}

void Schedule::add(Time due, std::string session_id) {
  due_.add(due, std::move(session_id));
}

void Schedule::check_room() const {
  if (calls_ < limits::scheduled_calls) return;
  throw Error(ErrorCode::unavailable,
              fmt::format("{} calls wait for their time, the most that a server keeps", limits::scheduled_calls),
              {{"scheduled_calls", limits::scheduled_calls}});
}

void Schedule::leave(const std::string& task_id) {
  --calls_;
  ++departures_;
  followed_.erase(task_id);
}

std::shared_ptr<LiveCall> Schedule::call_of(store::TaskRecord task, std::string app) {
  std::weak_ptr<LiveCall>& known = followed_[task.id];
  if (auto call = known.lock()) return call;
  auto call = planned_call(std::move(task), std::move(app));
  known = call;
  if (followed_.size() >= sweep_at_) {
    std::erase_if(followed_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max(least_sweep, 2 * followed_.size());
  }
  return call;
}

void Schedule::finish(const store::TaskRecord& task) {
  const auto found = followed_.find(task.id);
  const std::shared_ptr<LiveCall> call = found == followed_.end() ? nullptr : found->second.lock();
  leave(task.id);
  if (call) call->finish({.status = task.status, .error = task.error, .time = task.updated_at});
}

void Schedule::close() {
  closed_ = true;
  due_.close();
  for (const auto& [id, followed] : followed_) {
    if (const auto call = followed.lock()) call->wake_followers();
  }
}

void Schedule::wake() {
  if (takers_ >= most_takers) return;
  ++takers_;
  group_.spawn(run());
}

Async<void> Schedule::run() {
  while (!closed_) {
    const std::optional<std::string> id = due_.take_due();
    if (!id) break;
    wake();  // another one, for the next session
    const std::optional<Time> next = co_await take_up_(*id);
    if (next) due_.add(*next, *id);
  }
  --takers_;
}

}  // namespace sojourn::runtime
