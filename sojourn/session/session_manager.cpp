#include "sojourn/session/session_manager.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::session {

struct SessionManager::Live {
  Live(std::unique_ptr<KeptSession> kept_session, Executor executor, Clock& clock)
      : kept(std::move(kept_session)), resources(std::move(executor), clock) {}

  std::unique_ptr<KeptSession> kept;
  ResourceTracker resources;
  AsyncMutex turn;
  bool ended = false;
};

namespace {

Error ended(std::string_view id) {
  return Error(ErrorCode::session_ended, fmt::format("session ended: {}", id), {{"session_id", id}});
}

NewEvent event(std::string type, JsonObject data) {
  return {.type = std::move(type), .actor = "local", .data = to_text(data)};
}

// Runs the clean-ups and returns their error instead of throwing it, so that the caller can go on ending.
Async<std::optional<Error>> clean(ResourceTracker& resources) {
  try {
    co_await resources.cleanup();
  } catch (const Error& error) {
    co_return error;
  }
  co_return std::nullopt;
}

}  // namespace

SessionManager::SessionManager(Executor executor, store::Store& store, Clock& clock, Random& random, Options options)
    : executor_(std::move(executor)), store_(store), clock_(clock), random_(random), options_(std::move(options)) {}

SessionManager::~SessionManager() {
  assert(live_.empty());
}

Async<std::string> SessionManager::create(JsonObject context) {
  const AsyncMutex::Turn turn = co_await opening_.take();
  admit();
  co_return keep(co_await begin("", std::move(context)))->kept->id();
}

Async<void> SessionManager::get_or_create(std::string id, JsonObject context) {
  const AsyncMutex::Turn turn = co_await opening_.take();
  if (live_.contains(id)) co_return;
  admit();
  const std::optional<store::Snapshot> stored = co_await store_.load(id);
  if (!stored) {
    keep(co_await begin(std::move(id), std::move(context)));
  } else if (stored->record.head.status != store::SessionStatus::active) {
    throw ended(id);
  } else {
    keep(std::make_unique<KeptSession>(store_, clock_, co_await store_.adopt(id, options_.owner)));
  }
}

Async<Json> SessionManager::execute(std::string id, std::function<Async<Json>(InSession)> operation) {
  const std::shared_ptr<Live> live = find(id);
  const AsyncMutex::Turn turn = co_await live->turn.take();
  if (live->ended) throw ended(id);
  State& state = live->kept->session().state();
  std::exception_ptr failure;
  Json result;
  try {
    result = co_await operation(InSession{live->kept->session(), live->resources});
    Step step{.events = {}, .state = state.changes()};
    if (!step.state.empty()) {
      step.events.push_back({.type = "state.changed",
                             .actor = "local",
                             .data = fmt::format("{{\"state\":{}}}", state_hashes(step.state))});
      co_await live->kept->commit(std::move(step));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    state.discard();
    std::rethrow_exception(failure);
  }
  state.accept();
  co_return result;
}

Async<void> SessionManager::end(std::string id, std::string reason) {
  const std::shared_ptr<Live> live = find(id);
  const AsyncMutex::Turn turn = co_await live->turn.take();
  if (live->ended) throw ended(id);
  live->ended = true;
  const std::optional<Error> failure = co_await clean(live->resources);
  Step step;
  if (failure) step.events.push_back(event("resource.cleanup_failed", failure->details()));
  step.events.push_back(event("session.ended", {{"reason", reason}}));
  step.change = [reason, now = clock_.now()](store::SessionHead& head) {
    head.status = store::SessionStatus::ended;
    head.ended_at = now;
    head.end_reason = reason;
  };
  live_.erase(id);
  co_await live->kept->commit(std::move(step));
  if (failure) throw Error(*failure);
}

Async<void> SessionManager::close() {
  std::optional<Error> first;
  while (!live_.empty()) {
    const std::shared_ptr<Live> live = live_.begin()->second;
    const AsyncMutex::Turn turn = co_await live->turn.take();
    if (std::exchange(live->ended, true)) continue;
    const std::optional<Error> failure = co_await clean(live->resources);
    if (failure && !first) first = failure;
    live_.erase(live->kept->id());
  }
  if (first) throw Error(*first);
}

std::shared_ptr<SessionManager::Live> SessionManager::find(const std::string& id) const {
  const auto found = live_.find(id);
  if (found == live_.end()) {
    throw Error(ErrorCode::session_not_found, fmt::format("session not found: {}", to_valid_utf8(id)));
  }
  return found->second;
}

void SessionManager::admit() {
  if (live_.size() >= options_.max_sessions) {
    throw Error(ErrorCode::too_many_sessions, fmt::format("{} sessions are active, the most allowed", live_.size()));
  }
}

std::shared_ptr<SessionManager::Live> SessionManager::keep(std::unique_ptr<KeptSession> kept) {
  const std::string id = kept->id();
  auto live = std::make_shared<Live>(std::move(kept), executor_, clock_);
  live_.emplace(id, live);
  ++total_;
  peak_ = std::max(peak_, live_.size());
  return live;
}

Async<std::unique_ptr<KeptSession>> SessionManager::begin(std::string id, JsonObject context) {
  Beginning beginning;
  beginning.record.context = to_text(context, {.bytes = limits::context_bytes, .depth = limits::json_depth});
  if (!id.empty()) Session(id, {});  // checks the id
  beginning.record.id = std::move(id);
  beginning.record.owner = options_.owner;
  beginning.created = event("session.created", {{"context", to_hex(sha256(beginning.record.context))}});
  co_return co_await KeptSession::create(store_, clock_, random_, std::move(beginning));
}

}  // namespace sojourn::session
