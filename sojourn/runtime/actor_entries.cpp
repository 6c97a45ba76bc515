#include <fmt/format.h>

#include <set>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/actor.hpp"

// What is appended to an actor's session at once, beside its calls.
namespace sojourn::runtime {

using store::SessionStatus;

Async<std::uint64_t> Actor::append(session::Entry entry) {
  check_open();
  if (entries_.size() >= limits::waiting_entries) {
    throw Error(ErrorCode::queue_full,
                fmt::format("session {} has {} entries waiting, the most allowed", record().id, entries_.size()),
                {{"waiting_entries", limits::waiting_entries}});
  }
  check_bytes(entry.bytes);
  waiting_bytes_ += entry.bytes;
  around_.waiting_bytes += entry.bytes;
  const auto waiting = std::make_shared<Waiting>(std::move(entry));
  entries_.push_back(waiting);
  if (!std::exchange(appending_, true)) around_.group.spawn(append_waiting(shared_from_this()));
  co_return co_await waiting->done.wait();
}

Async<void> Actor::append_waiting(std::shared_ptr<Actor> self) {
  while (!entries_.empty()) co_await append_together(take_entries());
  appending_ = false;
  arm();
}

// As many as one commit takes.
Actor::Entries Actor::take_entries() {
  Entries batch;
  std::size_t bytes = 0;
  while (!entries_.empty() && batch.size() < limits::events_per_commit) {
    bytes += entries_.front()->entry.bytes;
    if (!batch.empty() && bytes > limits::json_bytes) break;
    waiting_bytes_ -= entries_.front()->entry.bytes;
    around_.waiting_bytes -= entries_.front()->entry.bytes;
    batch.push_back(std::move(entries_.front()));
    entries_.pop_front();
  }
  return batch;
}

Async<void> Actor::append_together(Entries batch) {
  session::Step step;
  step.compose = [this, &batch](session::Draft& draft) { return write_entries(batch, draft); };
  std::set<std::string> steps;
  for (const auto& waiting : batch) steps.insert(waiting->entry.steps.begin(), waiting->entry.steps.end());
  std::exception_ptr failure;
  try {
    co_await kept_->learn_steps(std::move(steps));
    co_await commit(std::move(step));
  } catch (...) {
    failure = std::current_exception();
  }
  for (const std::shared_ptr<Waiting>& waiting : batch) {
    if (waiting->refused) {
      waiting->done.fail(std::make_exception_ptr(Error(*waiting->refused)));
    } else if (failure) {
      waiting->done.fail(failure);
    } else {
      waiting->done.set(record().version);
    }
  }
}

// Each on what those before it left. One that expects a version must find just that, so where another was written
// before it, it waits for the next commit, with those after it. Whether anything was written.
bool Actor::write_entries(Entries& batch, session::Draft& draft) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Waiting& waiting = *batch[i];
    if (waiting.entry.expected_version && draft.has_entries) {
      for (std::size_t late = batch.size(); late-- > i;) {
        waiting_bytes_ += batch[late]->entry.bytes;
        around_.waiting_bytes += batch[late]->entry.bytes;
        entries_.push_front(std::move(batch[late]));
      }
      batch.resize(i);
      break;
    }
    try {
      check_takes_entries(draft);
      session::check_version(waiting.entry.expected_version, draft.record.version);
      waiting.entry.write(draft);
      draft.has_entries = true;
    } catch (...) {
      waiting.refused = to_error(std::current_exception());
    }
  }
  if (!draft.has_entries) return false;
  touch();
  draft.head.expires_at = expires_at();
  return true;
}

// The session may have ended while the entries waited.
void Actor::check_takes_entries(const session::Draft& draft) const {
  if (draft.head.status != SessionStatus::active) {
    throw over_error(record().id, draft.head.status, draft.head.end_reason);
  }
  if (over_) throw Error(ErrorCode::unavailable, fmt::format("session {} is just leaving memory", record().id));
}

}  // namespace sojourn::runtime
