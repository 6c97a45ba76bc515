#include "sojourn/runtime/order_round_test.hpp"

#include <algorithm>

#include "sojourn/runtime/order_replay_test.hpp"

namespace sojourn::runtime::order {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;

namespace {

// But for its webhook, which is owed once the call is over and has its own page in the store.
bool is_same(store::TaskRecord one, store::TaskRecord other) {
  one.webhook.reset();
  other.webhook.reset();
  return one == other;
}

}  // namespace

void Round::answered(std::size_t number, std::optional<ErrorCode> error, std::optional<store::TaskRecord> answer,
                     const std::optional<store::TaskRecord>& stored) {
  Request& request = model_.requests[number];
  Session& session = model_.sessions[request.session];
  request.returned = true;
  request.error = error;
  request.answer = std::move(answer);
  session.perhaps.erase(number);
  if (!request.answer) {
    check_error(request, session);
    return;
  }
  if (session.id.empty()) session.id = request.answer->session_id;
  if (store::is_scheduled(*request.answer)) {
    session.pending.emplace(request.same_as, model_.instant_of(*request.answer->run_at));
  }
  if (request.answer->created_at == clock_.now()) model_.touched.insert(session.id);
  if (server_->passage.refused.contains(session.id)) session.is_murky = true;
  model_.check_answer(request);
  if (session.is_murky) return;
  if (!stored) {
    model_.fail(fmt::format("request {} was answered before it was durable", number));
  } else if (request.wait && !is_same(*stored, *request.answer)) {
    model_.fail(fmt::format("request {} was answered with what is not stored", number));
  }
}

// An error, and no task: only for a reason.
void Round::check_error(const Request& request, const Session& session) {
  const ErrorCode code = *request.error;
  if (model_.calls[request.same_as].begun > 0 && request.same_as == request.number && !session.is_murky &&
      !server_->passage.refused.contains(session.id)) {
    model_.fail(fmt::format("request {} was refused and runs", request.number));
  }
  const bool refused =
      server_->passage.refuses || server_->passage.holds || session.is_murky || !server_->passage.refused.empty();
  const bool ending = session.was_ended || session.lifetime_end || session.may_fail || session.one_call;
  const bool right =
      refused || (code == ErrorCode::function_not_found && request.function == "nope") ||
      code == ErrorCode::queue_full ||
      (code == ErrorCode::invalid_request && request.run_at && session.lifetime_end &&
       model_.instant_of(*request.run_at) >= *session.lifetime_end) ||
      (code == ErrorCode::idempotency_mismatch && has_rival(request)) ||
      (code == ErrorCode::session_expired && session.status != SessionStatus::ended) ||
      (code == ErrorCode::session_ended && session.was_ended) ||
      (code == ErrorCode::worker_lost && (session.may_fail || server_->floor.lost.contains(session.id))) ||
      (code == ErrorCode::unavailable && ending);
  if (!right) model_.fail(fmt::format("request {} failed with {}", request.number, info(code).wire));
}

// Whether another request may have had its key before.
bool Round::has_rival(const Request& request) const {
  return std::ranges::any_of(model_.requests, [&](const Request& other) {
    return !request.key.empty() && other.session == request.session && other.key == request.key &&
           other.same_as != request.same_as && !other.error;
  });
}

void Round::note_refused() {
  for (Session& session : model_.sessions) {
    session.is_murky = session.is_murky || server_->passage.refused.contains(session.id);
    session.may_fail = session.may_fail || server_->floor.lost.contains(session.id);
    session.was_short = session.was_short || server_->floor.was_short.contains(session.id);
  }
}

// What lost workers left is cleaned up by threads of the runtime's.
Async<bool> Round::is_cleaning_up() {
  if (server_->passage.holds || server_->floor.is_cut) co_return false;
  const std::set<std::string> lost = server_->floor.lost;
  for (const std::string& id : lost) {
    const auto worker = server_->floor.workers.find(id);
    const bool is_waiting = worker != server_->floor.workers.end() && worker->second->is_waiting();
    if (!is_waiting && (co_await server_->runtime.session(id)).busy) co_return true;
  }
  co_return false;
}

// Settles, and holds what became of each session against what should have.
Async<void> Round::look() {
  co_await settle();
  note_refused();
  const Instant now = clock_.instant();
  if (server_->passage.refuses || server_->passage.holds) trouble_ = now;
  for (std::size_t i = 0; i < model_.sessions.size(); ++i) {
    const std::string id = model_.sessions[i].id;
    if (id.empty() || model_.sessions[i].status != SessionStatus::active) continue;
    co_await look_at_calls_to_come(i);
    const auto stored = co_await store_.load(id);
    Session& session = model_.sessions[i];
    const auto worker = server_->floor.workers.find(id);
    const bool is_busy = worker != server_->floor.workers.end() && worker->second->is_waiting();
    if (is_busy && !session.busy) {
      alarms_.insert(now + 15s);
      alarms_.insert(now + 17s);
    }
    if (session.busy || is_busy || model_.touched.contains(id)) session.last_active = session.surely_active = now;
    if (!is_busy && (session.busy || model_.touched.contains(id))) session.durably_active = now;
    session.busy = is_busy;
    if (!stored) {
      model_.fail("a session is gone");
    } else if (!session.is_murky) {
      check_status(session, stored->record.head.status, now);
    }
  }
  model_.touched.clear();
}

// What became of a session's calls to come: they wait, were begun or queued, or are over.
Async<void> Round::look_at_calls_to_come(std::size_t index) {
  for (const std::size_t number : std::set<std::size_t>(model_.sessions[index].perhaps)) {
    if (!model_.requests[number].is_cut) continue;  // its caller will be answered
    Session& session = model_.sessions[index];
    session.perhaps.erase(number);
    const std::vector<store::TaskRecord> tasks = co_await store_.tasks(session.id, 0, 1'000);
    for (const store::TaskRecord& task : tasks) {
      if (Model::number_of(task) != number || !store::is_scheduled(task)) continue;
      model_.calls[number].task = task.id;
      model_.sessions[index].pending.emplace(number, model_.instant_of(*task.run_at));
    }
  }
  for (const auto& [number, due] : std::map<std::size_t, Instant>(model_.sessions[index].pending)) {
    const auto task = co_await store_.task(model_.calls[number].task);
    Session& session = model_.sessions[index];
    if (task && store::is_scheduled(*task)) {
      check_is_not_late(session, number, due);
    } else {
      session.pending.erase(number);
      model_.touched.insert(session.id);
    }
  }
}

// Where there was no room at its time it is tried again every 2 s.
void Round::check_is_not_late(const Session& session, std::size_t number, Instant due) {
  const Instant now = clock_.instant();
  const bool has_room = !session.busy && !session.is_murky && !server_->passage.refuses && !server_->passage.holds;
  if (session.status != SessionStatus::active || !has_room || is_stopping_) return;
  if (std::max({due, trouble_, session.last_active}) + 2s < now) {
    model_.fail(fmt::format("call {} waits {} us past its time", number,
                            std::chrono::duration_cast<Microseconds>(now - due).count()));
  }
}

void Round::check_status(Session& session, SessionStatus status, Instant now) {
  session.status = status;
  const std::optional<Instant> due = session.due();
  if (status == SessionStatus::active) {
    if (due && *due <= now && !session.busy && !server_->passage.holds && !is_stopping_)
      model_.fail(fmt::format("a session of {} outlives its time by {} us{}", session.app,
                              std::chrono::duration_cast<Microseconds>(now - *due).count(),
                              session.lifetime_end ? ", with a lifetime" : ""));
    if (session.is_ended) model_.fail("a session lives after its end was answered");
  }
  const bool may_expire = (due && *due <= now) ||
                          (session.idle && session.pending.empty() && session.surely_active + *session.idle <= now);
  if (status == SessionStatus::expired && !may_expire)
    model_.fail(fmt::format("session {} of {} expired before its time: {} us after its last use{}",
                            &session - model_.sessions.data(), session.app,
                            std::chrono::duration_cast<Microseconds>(now - session.last_active).count(),
                            session.lifetime_end ? ", with a lifetime" : ""));
  if (status == SessionStatus::ended && !session.was_ended) model_.fail("a session ended by itself");
  if (status == SessionStatus::failed && (session.app == "keeps" || !session.may_fail)) {
    model_.fail("a session failed without a reason");
  }
}

Async<void> Round::check_all() {
  for (const Request& request : model_.requests) {
    if (!request.returned && !request.is_cut) model_.fail(fmt::format("request {} has no answer", request.number));
  }
  const store::SessionPage page = co_await store_.list({}, "", 1'000);
  for (const store::SessionRecord& record : page.sessions) co_await check_session(record.id);
  for (const Request& request : model_.requests) {
    const Session& session = model_.sessions[request.session];
    if (!request.answer || session.is_murky) continue;
    const auto stored = co_await store_.task(request.answer->id);
    if (!stored) {
      model_.fail(fmt::format("the acknowledged task of {} is lost", request.number));
    } else if (store::is_final(request.answer->status) && !is_same(*stored, *request.answer)) {
      model_.fail(fmt::format("the acknowledged outcome of {} was changed", request.number));
    } else if (stored->webhook.has_value() != request.has_webhook && request.same_as == request.number) {
      model_.fail(fmt::format("the webhook of {} is lost", request.number));
    } else if (model_.calls[request.same_as].task != request.answer->id) {
      model_.fail(fmt::format("the key of {} has two tasks", request.number));
    }
  }
}

Async<void> Round::check_session(std::string id) {
  const store::VerifyReport report = co_await store::verify(store_, id);
  for (const store::Finding& finding : report.findings) model_.fail(finding.message);
  Session nobodys;
  Session* session = model_.session_of(id);
  if (session == nullptr) session = &nobodys;  // its first call was refused after it was created
  const std::vector<store::TaskRecord> tasks = co_await store_.tasks(id, 0, 10'000);
  std::map<std::string, store::TaskRecord> by_id;
  for (const store::TaskRecord& task : tasks) by_id.emplace(task.id, task);
  model_.check_arrival(*session, tasks);
  const auto stored = co_await store_.load(id);
  Replay(model_).check(*session, co_await store_.events(id, 1, 100'000), by_id, *stored);
}

}  // namespace sojourn::runtime::order
