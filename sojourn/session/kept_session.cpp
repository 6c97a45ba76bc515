#include "sojourn/session/kept_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/session/entry.hpp"

namespace sojourn::session {

namespace {

// Six random digits a second: 16 million ids. Drawing so often means that the store answers nonsense.
constexpr int id_draws = 100;

std::map<std::string, store::JsonText> as_map(const std::vector<store::StateChange>& changes) {
  std::map<std::string, store::JsonText> state;
  for (const store::StateChange& change : changes) {
    if (change.value) state.insert_or_assign(change.key, *change.value);
  }
  return state;
}

// Creates the session under its id. Whether that id was free.
Async<bool> try_create(store::Store& store, store::NewSession session) {
  try {
    co_await store.create(std::move(session));
  } catch (const Error& error) {
    const Json* const taken = error.details().if_contains("field");
    if (error.code() != ErrorCode::already_exists || taken == nullptr || *taken != "id") throw;
    co_return false;
  }
  co_return true;
}

bool is_empty(const Step& step) {
  return step.events.empty() && step.state.empty() && step.tasks.empty() && step.resources_added.empty() &&
         step.resources_released.empty() && step.steps.empty() && step.usage == store::Usage() && !step.change &&
         !step.closing;
}

}  // namespace

Async<std::unique_ptr<KeptSession>> KeptSession::create(store::Store& store, Clock& clock, Random& random,
                                                        Beginning beginning) {
  const bool drawn = beginning.record.id.empty();
  const Time now = clock.now();
  beginning.created.time = now;
  beginning.events.insert(beginning.events.begin(), beginning.created);
  for (int draw = 0; draw < (drawn ? id_draws : 1); ++draw) {
    store::NewSession session{beginning.record, {}, beginning.state, beginning.tasks, beginning.opening_key};
    store::SessionRecord& record = session.record;
    if (drawn) record.id = new_session_id(now, random);
    record.created_at = now;
    record.head.updated_at = now;
    record.version = 1;
    for (store::TaskRecord& task : session.tasks) task.session_id = record.id;

    Journal::Sealed sealed = Journal::of_new_session(record.id).seal(beginning.events, now);
    session.events = std::move(sealed.events);
    record.head.chain = sealed.head;
    store::Snapshot snapshot{.record = record, .state = as_map(session.state)};
    if (co_await try_create(store, std::move(session))) {
      co_return std::make_unique<KeptSession>(store, clock, std::move(snapshot));
    }
  }
  throw Error(ErrorCode::already_exists, drawn ? "no free session id was found"
                                               : fmt::format("session '{}' exists already", beginning.record.id));
}

KeptSession::KeptSession(store::Store& store, Clock& clock, store::Snapshot snapshot)
    : store_(store),
      clock_(clock),
      record_(std::move(snapshot.record)),
      session_(record_.id, parse_json_object(record_.context), State(snapshot.state)),
      journal_(record_.head.chain) {}

Async<void> KeptSession::commit(Step step) {
  const AsyncMutex::Turn turn = co_await turn_.take();
  check_version(step.expected_version, record_.version);
  store::SessionHead head = record_.head;
  head.usage.add(step.usage);
  if (step.compose) {
    Draft draft{.record = record_,
                .head = head,
                .step = step,
                .now = std::max(clock_.now(), head.updated_at),
                .first_seq = journal_.next_seq(),
                .steps = steps_};
    if (!step.compose(draft) && is_empty(step) && journal_.waiting() == 0) co_return;
  }
  if (step.change) step.change(head);
  if (step.closing) step.events.push_back(step.closing(head));
  // The wall clock may be set back; a journal's times stay where they were until it has caught up.
  Time latest = record_.head.updated_at;
  for (NewEvent& event : step.events) {
    if (event.time == Time()) event.time = clock_.now();
    latest = event.time = std::max(event.time, latest);
  }
  // What tells of the end is the end.
  if (step.closing && head.ended_at) head.ended_at = latest;
  const Time now = std::max(clock_.now(), latest);
  Journal::Sealed sealed = journal_.seal(step.events, now);

  const bool changes_state = !step.state.empty();
  store::Commit commit{.session_id = record_.id,
                       .epoch = record_.epoch,
                       .version = record_.version,
                       .head = {},
                       .events = std::move(sealed.events),
                       .state = std::move(step.state),
                       .tasks = std::move(step.tasks),
                       .resources_added = std::move(step.resources_added),
                       .resources_released = std::move(step.resources_released),
                       .steps = std::move(step.steps)};
  const bool changes_steps = !commit.steps.empty();
  head.chain = sealed.head;
  head.updated_at = now;
  commit.head = head;

  try {
    record_.version = co_await store_.commit(std::move(commit));
  } catch (...) {
    if (changes_steps) steps_.forget();
    throw;
  }
  record_.head = std::move(head);
  journal_.advance(sealed);
  if (changes_state) session_.state().accept();
}

Async<void> KeptSession::learn_steps(std::set<std::string> names) {
  constexpr std::size_t most_known = 1'000;
  if (names.empty()) co_return;
  // Nothing that a commit counts on may be forgotten while it goes on.
  const AsyncMutex::Turn turn = co_await turn_.take();
  if (steps_.size() >= most_known) steps_.forget();
  std::vector<std::string> unknown;
  std::ranges::copy_if(names, std::back_inserter(unknown), [this](const auto& name) { return !steps_.knows(name); });
  if (unknown.empty()) co_return;
  const std::vector<store::StepRecord> latest = co_await store_.latest_attempts(record_.id, unknown);
  steps_.learn(unknown, latest);
}

store::JsonText state_hashes(const std::vector<store::StateChange>& changes) {
  store::JsonText text = "{";
  for (const store::StateChange& change : changes) {
    if (text.size() > 1) text += ',';
    append_json_string(text, change.key);
    if (change.value) {
      text.append(":\"").append(to_hex(sha256(*change.value))).append("\"");
    } else {
      text += ":null";
    }
  }
  text += '}';
  return text;
}

}  // namespace sojourn::session
