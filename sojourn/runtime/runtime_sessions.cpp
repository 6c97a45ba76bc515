#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/runtime_parts.hpp"

// Sessions as a whole: begun, found in memory or the store, seen, kept alive, written to and ended.
namespace sojourn::runtime {

namespace {

Error no_session(std::string_view id) {
  return Error(ErrorCode::session_not_found, fmt::format("session not found: {}", to_valid_utf8(id.substr(0, 64))));
}

// Under which a session is found again by the request that opened it; "" without an idempotency key. A call that ends
// its session must not find one that was opened to stay.
std::string opening_key(const RunRequest& request, bool one_call) {
  if (request.idempotency_key.empty()) return "";
  return to_hex(sha256(fmt::format("{}\n{}\n{}{}", request.actor, request.app, one_call ? "one call\n" : "",
                                   request.idempotency_key)));
}

void check_timeout(std::string_view name, std::optional<Seconds> timeout) {
  if (timeout && (*timeout < limits::min_session_timeout || *timeout > limits::max_session_timeout)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("{} is {} s to {} s, not {}", name, limits::min_session_timeout.count(),
                            limits::max_session_timeout.count(), timeout->count()),
                {{"field", name}});
  }
}

// What a session is given once and keeps, as text.
store::JsonText given_text(std::string_view name, const Json& value) {
  try {
    return to_text(value, {.bytes = limits::context_bytes, .depth = limits::json_depth});
  } catch (const Error& error) {
    JsonObject details = error.details();
    details["field"] = name;
    throw Error(error.code(), fmt::format("'{}': {}", name, error.message()), std::move(details));
  }
}

void check_labels(const JsonObject& labels) {
  for (const auto& [key, value] : labels) {
    if (!value.is_string()) {
      throw Error(ErrorCode::invalid_request, fmt::format("label '{}' is no string", to_valid_utf8(key)),
                  {{"field", "labels"}});
    }
  }
}

// The record of a session as it is asked for, and the event that tells of it.
session::Beginning beginning_of(const RunRequest& request, const session::App* app, const Options& options,
                                Time now) {
  session::Beginning beginning;
  store::SessionRecord& record = beginning.record;
  record.context = given_text("context", request.context);
  record.labels = given_text("labels", request.labels);
  record.metadata = given_text("metadata", request.metadata);
  record.setup = given_text("setup", request.setup);
  record.user = request.user;
  record.lifecycle = request.lifecycle;
  record.head.stage = options.lifecycles.named(record.lifecycle).first();
  record.owner = options.owner;
  record.lifetime = request.lifetime;
  record.idle_timeout = request.session_timeout;
  JsonObject data{{"user", record.user}, {"context", to_hex(sha256(record.context))}};
  if (app != nullptr) {
    record.app = app->info().name;
    record.app_version = app->info().version;
    if (!record.idle_timeout) record.idle_timeout = app->info().session_timeout;
    data["app"] = record.app;
    data["version"] = record.app_version;
  }
  if (!record.lifecycle.empty()) {
    data["lifecycle"] = record.lifecycle;
    data["stage"] = record.head.stage;
  }
  if (record.idle_timeout) data["timeout"] = record.idle_timeout->count();
  if (record.lifetime) data["lifetime"] = record.lifetime->count();
  if (record.labels != "{}") data["labels"] = to_hex(sha256(record.labels));
  if (record.metadata != "{}") data["metadata"] = to_hex(sha256(record.metadata));
  if (record.setup != "null") data["setup"] = to_hex(sha256(record.setup));
  if (!options.journal_key.empty()) data["key"] = options.journal_key;
  if (record.idle_timeout || record.lifetime) {
    const Seconds longest = Seconds::max();
    record.head.expires_at = now + std::min(record.idle_timeout.value_or(longest), record.lifetime.value_or(longest));
  }
  beginning.created = {.type = "session.created", .actor = request.actor, .data = to_text(data)};
  return beginning;
}

}  // namespace

// Begins a session and returns its id; or that of the one which the same request began before.
Async<std::string> Runtime::open_session(const RunRequest& request, std::shared_ptr<session::App> app,
                                         bool one_call) {
  const std::string key = opening_key(request, one_call);
  if (key.empty()) co_return (co_await begin_session(request, app, key))->record().id;
  // One at a time, so that two that come together open one session.
  while (parts_->opening.contains(key)) co_await parts_->opened.wait();
  parts_->opening.insert(key);
  std::string id;
  std::exception_ptr failure;
  try {
    id = co_await parts_->store.session_opened_by(key);
    if (id.empty()) id = (co_await begin_session(request, app, key))->record().id;
  } catch (...) {
    failure = std::current_exception();
  }
  parts_->opening.erase(key);
  parts_->opened.notify_all();
  if (failure) std::rethrow_exception(failure);
  co_return id;
}

Async<SessionView> Runtime::create_session(RunRequest request) {
  check_serving();
  const std::shared_ptr<session::App> app = request.app.empty() ? nullptr : find_app(request.app);
  if (request.warm && !app) {
    throw Error(ErrorCode::invalid_request, "'warm' needs an 'app'", {{"field", "warm"}});
  }
  const std::string id = co_await open_session(request, app, false);
  if (request.warm) co_await warm_up(id, request.call_timeout, request.wait);
  if (const auto live = parts_->actors.find(id); live != parts_->actors.end()) co_return view(live->second->record());
  co_return co_await session(id);
}

Async<void> Runtime::warm_up(std::string session_id, std::optional<Seconds> timeout, bool wait) {
  try {
    const std::shared_ptr<Actor> actor = co_await find_session(session_id, Purpose::call);
    const auto ready = actor->warm_up(timeout.value_or(actor->app()->info().call_timeout));
    if (wait) co_await ready->wait();
  } catch (const Error& error) {
    JsonObject details = error.details();
    details["session_id"] = session_id;
    throw Error(error.code(), error.message(), std::move(details)).set_retryable(error.retryable());
  }
}

Async<std::shared_ptr<Actor>> Runtime::begin_session(const RunRequest& request, std::shared_ptr<session::App> app,
                                                     std::string opening_key) {
  check_timeout("session_timeout", request.session_timeout);
  check_labels(request.labels);
  session::Beginning beginning = beginning_of(request, app.get(), parts_->options, parts_->clock.now());
  beginning.opening_key = std::move(opening_key);
  if (app) check_room_for(*app);
  const std::string app_name = beginning.record.app;
  ++parts_->sessions_of_app[app_name];  // the place is taken before anything is awaited
  const Instant start = parts_->clock.instant();
  std::unique_ptr<session::KeptSession> kept;
  try {
    kept = co_await session::KeptSession::create(parts_->store, parts_->clock, parts_->random, std::move(beginning));
  } catch (...) {
    --parts_->sessions_of_app[app_name];
    throw;
  }
  --parts_->sessions_of_app[app_name];
  ++parts_->counts.of_app(app_name).sessions_created;
  parts_->counts.session_creation.add(parts_->clock.instant() - start);
  check_serving();
  co_return keep(std::move(kept), std::move(app), {});
}

void Runtime::check_room_for(const session::App& app) const {
  const std::string& name = app.info().name;
  const std::size_t limit = app.info().max_sessions;
  const auto count = parts_->sessions_of_app.find(name);
  if (count == parts_->sessions_of_app.end() || count->second < limit) return;
  throw Error(ErrorCode::too_many_sessions, fmt::format("app '{}' has {} sessions, the most allowed", name, limit),
              {{"max_sessions", limit}});
}

std::shared_ptr<Actor> Runtime::keep(std::unique_ptr<session::KeptSession> kept, std::shared_ptr<session::App> app,
                                     ActorCalls calls) {
  const store::SessionRecord& record = kept->record();
  ++parts_->sessions_of_app[record.app];
  if (record.head.expires_at) parts_->sleepers.remove(*record.head.expires_at, record.id);
  auto actor = std::make_shared<Actor>(*parts_->around, std::move(kept), std::move(app), std::move(calls));
  parts_->actors.emplace(actor->record().id, actor);
  actor->start();
  return actor;
}

Async<std::shared_ptr<Actor>> Runtime::find_session(std::string session_id, Purpose purpose) {
  if (!is_session_id(session_id)) throw no_session(session_id);
  if (const auto found = parts_->actors.find(session_id); found != parts_->actors.end()) co_return found->second;
  co_return co_await adopt_session(std::move(session_id), purpose);
}

// Whether something was left open that its last commit should have closed, and could not.
bool Runtime::is_unsettled(const store::Snapshot& stored) const {
  if (stored.record.head.status != store::SessionStatus::active) return !stored.scheduled.empty();
  const OpenCalls open{.begun = !stored.open_tasks.empty(), .scheduled = !stored.scheduled.empty()};
  return open.begun || !stored.resources.empty() ||
         status_without_worker(recovery(*parts_), stored.record, open) != store::SessionStatus::active;
}

// What the store has of a session that is not in memory, once nothing of it is left open. Its turn was taken.
Async<std::optional<store::Snapshot>> Runtime::load_settled(std::string session_id) {
  std::optional<store::Snapshot> stored = co_await parts_->store.load(session_id);
  if (!stored || !is_unsettled(*stored)) co_return stored;
  co_await settle_session(recovery(*parts_), session_id);
  co_return co_await parts_->store.load(session_id);
}

// Closes what a session left open whose last commit failed here. One that is in memory closes it with its next
// commit; one that another server owns is not for a reader to take.
Async<void> Runtime::settle(std::string session_id) {
  const AsyncMutex::Turn turn = co_await parts_->adopting.take();
  if (parts_->actors.contains(session_id)) co_return;
  const std::optional<store::Snapshot> stored = co_await parts_->store.load(session_id);
  if (!stored || stored->record.owner != parts_->options.owner || !is_unsettled(*stored)) co_return;
  co_await settle_session(recovery(*parts_), session_id);
}

// For who only reads: where it cannot be closed now, it is read as it is.
Async<void> Runtime::try_to_settle(std::string session_id) {
  try {
    co_await settle(session_id);
  } catch (const Error& error) {
    parts_->log.warning("a session could not be settled", {{"session", session_id}, {"error", error.message()}});
  }
}

// Goes on with a session that is only in the store.
Async<std::shared_ptr<Actor>> Runtime::adopt_session(std::string session_id, Purpose purpose) {
  const AsyncMutex::Turn turn = co_await parts_->adopting.take();
  if (const auto found = parts_->actors.find(session_id); found != parts_->actors.end()) co_return found->second;
  std::optional<store::Snapshot> stored = co_await load_settled(session_id);
  if (!stored) throw no_session(session_id);
  const store::SessionHead& head = stored->record.head;
  if (head.status != store::SessionStatus::active) throw Actor::over_error(session_id, head.status, head.end_reason);

  std::shared_ptr<session::App> app;
  if (!stored->record.app.empty()) {
    app = find_app(stored->record.app);
    if (app->info().version != stored->record.app_version) {
      throw Error(ErrorCode::version_mismatch,
                  fmt::format("session {} was created with version '{}' of app '{}', which is '{}' now", session_id,
                              stored->record.app_version, stored->record.app, app->info().version));
    }
    if (purpose == Purpose::call) check_room_for(*app);
  }
  store::Snapshot adopted = co_await parts_->store.adopt(session_id, parts_->options.owner);
  ActorCalls calls{.last_seq = adopted.last_task_seq, .scheduled = std::move(adopted.scheduled)};
  auto kept = std::make_unique<session::KeptSession>(parts_->store, parts_->clock, std::move(adopted));
  check_serving();
  co_return keep(std::move(kept), std::move(app), std::move(calls));
}

// What is in memory of a session is newer than what a reader saw in the store, and knows its worker and queue.
SessionView Runtime::view(store::SessionRecord stored) const {
  const auto found = parts_->actors.find(stored.id);
  SessionView view;
  if (found == parts_->actors.end()) {
    view.record = std::move(stored);
  } else {
    const Actor& actor = *found->second;
    view = {.record = actor.record(),
            .worker = actor.describe_worker(),
            .queued = actor.queued(),
            .busy = actor.is_busy()};
    view.asleep = !actor.has_worker();
  }
  const store::SessionHead& head = view.record.head;
  view.asleep = view.asleep && !view.busy && head.status == store::SessionStatus::active && head.last_call_at;
  return view;
}

Async<SessionView> Runtime::session(std::string session_id) {
  if (const auto found = parts_->actors.find(session_id); found != parts_->actors.end()) {
    co_return view(found->second->record());
  }
  std::optional<store::Snapshot> stored;
  if (is_session_id(session_id)) stored = co_await parts_->store.load(session_id);
  if (!stored) throw no_session(session_id);
  co_return view(std::move(stored->record));
}

Async<SessionView> Runtime::keepalive(std::string session_id, std::string actor_name) {
  check_serving();
  const std::shared_ptr<Actor> actor = co_await find_session(std::move(session_id));
  co_await actor->keepalive(std::move(actor_name));
  co_return view(actor->record());
}

Async<SessionViews> Runtime::sessions(store::SessionQuery query, std::string cursor, std::size_t limit) {
  store::SessionPage page = co_await parts_->store.list(std::move(query), std::move(cursor), limit);
  if (!page.broken.empty()) {
    parts_->log.error("sessions cannot be read; sojourn audit verify tells more",
                      {{"sessions", JsonArray(page.broken.begin(), page.broken.end())}});
  }
  SessionViews views{.next_cursor = std::move(page.next_cursor)};
  views.sessions.reserve(page.sessions.size());
  for (store::SessionRecord& record : page.sessions) views.sessions.push_back(view(std::move(record)));
  co_return views;
}

Async<void> Runtime::end_session(std::string session_id, std::string actor_name) {
  const std::shared_ptr<Actor> actor = co_await find_session(std::move(session_id));
  co_await actor->end(std::move(actor_name));
}

Async<store::Snapshot> Runtime::stored(std::string session_id) {
  std::optional<store::Snapshot> stored;
  if (is_session_id(session_id)) stored = co_await parts_->store.load(session_id);
  if (!stored) throw no_session(session_id);
  co_return std::move(*stored);
}

Async<void> Runtime::change_state(std::string session_id,
                                  std::vector<std::pair<std::string, std::optional<Json>>> changes,
                                  std::string actor_name, std::optional<std::uint64_t> expected) {
  check_serving();
  const std::shared_ptr<Actor> actor = co_await find_session(std::move(session_id));
  co_await actor->change_state(std::move(changes), std::move(actor_name), expected);
}

}  // namespace sojourn::runtime
