#include "sojourn/session/steps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/session/entry.hpp"

namespace sojourn::session {

namespace {

using store::StepRecord;
using store::StepStatus;

bool is_step_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  return !name.empty() && name.size() <= limits::step_name_bytes && name.front() != '.' &&
         std::ranges::all_of(name, allowed);
}

void check_size(std::string_view field, const Json& value) {
  try {
    to_text(value, {.bytes = limits::step_note_bytes, .depth = limits::json_depth - 2});
  } catch (const Error& error) {
    JsonObject details = error.details();
    details["field"] = field;
    throw Error(error.code(), fmt::format("'{}': {}", field, error.message()), std::move(details));
  }
}

StepRecord begin_attempt(Draft& draft, const StepChange& change, StepBook::Step& step) {
  if (draft.head.step_count >= limits::steps_per_session) {
    throw Error(ErrorCode::too_large,
                fmt::format("session {} has {} attempts at steps, the most allowed", draft.record.id,
                            limits::steps_per_session),
                {{"steps_per_session", limits::steps_per_session}});
  }
  return {.number = draft.head.step_count + 1,
          .name = change.name,
          .attempt = step.attempts + 1,
          .started_at = draft.now};
}

const StepRecord& attempt_that_ends(const StepChange& change, const StepBook::Step& step) {
  const auto found = change.attempt         ? step.running.find(*change.attempt)
                     : step.running.empty() ? step.running.end()
                                            : std::prev(step.running.end());
  if (found != step.running.end()) return found->second;
  JsonObject details{{"step", change.name}, {"attempts", step.attempts}};
  if (!change.attempt) {
    throw Error(ErrorCode::step_not_started,
                step.attempts == 0 ? fmt::format("step '{}' was not started", change.name)
                                   : fmt::format("no attempt at step '{}' runs", change.name),
                std::move(details));
  }
  throw Error(ErrorCode::step_not_started,
              *change.attempt <= step.attempts && *change.attempt > 0
                  ? fmt::format("attempt {} at step '{}' is over", *change.attempt, change.name)
                  : fmt::format("there was no attempt {} at step '{}'", *change.attempt, change.name),
              std::move(details));
}

// Tells of the attempt as it is now.
void append_event(Draft& draft, std::string type, const StepRecord& attempt, const StepChange& change) {
  JsonObject data{{"step", attempt.name}, {"attempt", attempt.attempt}};
  if (attempt.status != StepStatus::running) data["us"] = attempt.duration.count();
  if (change.kind == StepChange::Kind::report) data["reported"] = true;
  if (attempt.status == StepStatus::failed) data["error"] = change.error;
  if (!change.data.empty()) data["data"] = change.data;
  draft.step.events.push_back(
      {.type = std::move(type), .actor = change.actor, .data = to_text(data), .time = draft.now});
}

}  // namespace

void StepBook::learn(const std::vector<std::string>& names, const std::vector<StepRecord>& latest) {
  for (const std::string& name : names) steps_.insert_or_assign(name, Step());
  for (const StepRecord& attempt : latest) {
    Step& step = steps_[attempt.name];
    step.attempts = std::max(step.attempts, attempt.attempt);
    if (attempt.status == StepStatus::running) step.running.emplace(attempt.attempt, attempt);
  }
}

StepBook::Step& StepBook::of(std::string_view name) {
  const auto found = steps_.find(name);
  if (found == steps_.end()) {
    throw Error(ErrorCode::internal_error, fmt::format("nothing was learnt of step '{}'", name));
  }
  return found->second;
}

void check_step(const StepChange& change) {
  if (!is_step_name(change.name)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'{}' is no step: it has 1 to {} letters, digits, '_', '-' and '.', not '.' first",
                            to_valid_utf8(std::string_view(change.name).substr(0, 2 * limits::step_name_bytes)),
                            limits::step_name_bytes),
                {{"field", "step"}});
  }
  const bool needs_duration = change.kind == StepChange::Kind::report;
  if (needs_duration && !change.duration) {
    throw Error(ErrorCode::invalid_request, "a step that is reported needs 'duration_ms'",
                {{"field", "duration_ms"}});
  }
  check_size("error", change.error);
  check_size("data", change.data);
}

StepRecord write_step(Draft& draft, const StepChange& change) {
  using Kind = StepChange::Kind;
  StepBook::Step& step = draft.steps.of(change.name);
  const bool begins = change.kind == Kind::start || change.kind == Kind::report;
  StepRecord attempt = begins ? begin_attempt(draft, change, step) : attempt_that_ends(change, step);
  if (change.kind == Kind::start) {
    attempt.started_seq = draft.next_seq();
    append_event(draft, "step.started", attempt, change);
    step.running.emplace(attempt.attempt, attempt);
  } else {
    const bool failed = change.kind == Kind::fail || (change.kind == Kind::report && change.failed);
    attempt.status = failed ? StepStatus::failed : StepStatus::completed;
    attempt.ended_at = draft.now;
    attempt.duration = change.duration.value_or(std::max(draft.now - attempt.started_at, Microseconds(0)));
    if (begins) attempt.started_at = draft.now - attempt.duration;
    if (failed) attempt.error = to_text(change.error);
    attempt.ended_seq = draft.next_seq();
    append_event(draft, failed ? "step.failed" : "step.completed", attempt, change);
    step.running.erase(attempt.attempt);
  }
  if (begins) {
    ++step.attempts;
    ++draft.head.step_count;
  }
  draft.step.steps.push_back(attempt);
  return attempt;
}

}  // namespace sojourn::session
