#include <fmt/format.h>

#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/runtime_parts.hpp"

// What is said of sessions from outside their calls, and appended at once.
namespace sojourn::runtime {

namespace {

// Moves to a stage, if the lifecycle allows that from where the session is then.
void write_move(session::Draft& draft, const session::Lifecycle& lifecycle, const StageMove& move) {
  const std::string from = draft.head.stage;
  lifecycle.check(from, move.stage);
  JsonObject data{{"from", from}, {"to", move.stage}};
  if (!move.reason.empty()) data["reason"] = move.reason;
  draft.step.events.push_back(
      {.type = "session.stage", .actor = move.actor, .data = to_text(data), .time = draft.now});
  draft.head.stage = move.stage;
}

}  // namespace

Async<std::uint64_t> Runtime::append(std::string session_id, session::Entry entry) {
  check_serving();
  if (entry.also_after_end) {
    if (const auto version = co_await append_after_end(session_id, entry)) co_return *version;
  }
  const std::shared_ptr<Actor> actor = co_await find_session(std::move(session_id));
  co_return co_await actor->append(std::move(entry));
}

// Appends to a session that is over, and so has no actor; nothing where it is not.
Async<std::optional<std::uint64_t>> Runtime::append_after_end(std::string session_id, const session::Entry& entry) {
  if (parts_->actors.contains(session_id)) co_return std::nullopt;
  const AsyncMutex::Turn turn = co_await parts_->adopting.take();
  if (parts_->actors.contains(session_id)) co_return std::nullopt;
  const std::optional<store::Snapshot> stored = co_await parts_->store.load(session_id);
  if (!stored || stored->record.head.status == store::SessionStatus::active) co_return std::nullopt;
  session::check_version(entry.expected_version, stored->record.version);
  session::KeptSession kept(parts_->store, parts_->clock,
                            co_await parts_->store.adopt(session_id, parts_->options.owner));
  co_await kept.learn_steps({entry.steps.begin(), entry.steps.end()});
  session::Step step;
  step.compose = [&entry](session::Draft& draft) {
    entry.write(draft);
    return true;
  };
  co_await kept.commit(std::move(step));
  co_return kept.record().version;
}

Async<StepView> Runtime::change_step(std::string session_id, session::StepChange change,
                                     std::optional<std::uint64_t> expected_version) {
  session::check_step(change);
  const auto view = std::make_shared<StepView>();  // owned by this and by the entry
  session::Entry entry{
      .expected_version = expected_version, .bytes = 256 + change.name.size(), .steps = {change.name}};
  entry.bytes += to_text(change.error).size() + to_text(change.data).size();
  entry.write = [view, change = std::move(change)](session::Draft& draft) {
    view->step = session::write_step(draft, change);
  };
  view->version = co_await append(std::move(session_id), std::move(entry));
  co_return *view;
}

const session::Lifecycle& Runtime::lifecycle_of(const store::SessionRecord& session) const {
  try {
    return parts_->options.lifecycles.named(session.lifecycle);
  } catch (const Error& error) {
    throw Error(ErrorCode::not_found, fmt::format("session {}: {}", session.id, error.message()));
  }
}

Async<SessionView> Runtime::move_stage(std::string session_id, StageMove move) {
  if (move.reason.size() > limits::reason_bytes) {
    throw Error(
        ErrorCode::too_large,
        fmt::format("a reason has at most {} bytes, this one has {}", limits::reason_bytes, move.reason.size()),
        {{"field", "reason"}});
  }
  session::Entry entry{.expected_version = move.expected_version, .bytes = move.stage.size() + move.reason.size()};
  entry.write = [this, move = std::move(move)](session::Draft& draft) {
    write_move(draft, lifecycle_of(draft.record), move);
  };
  co_await append(session_id, std::move(entry));
  co_return co_await session(std::move(session_id));
}

}  // namespace sojourn::runtime
