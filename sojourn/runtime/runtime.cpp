#include "sojourn/runtime/runtime.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <set>
#include <utility>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/leftover_resource.hpp"
#include "sojourn/runtime/runtime_parts.hpp"

namespace sojourn::runtime {

namespace {

Error no_session(std::string_view id) {
  return Error(ErrorCode::session_not_found, fmt::format("session not found: {}", to_valid_utf8(id.substr(0, 64))));
}

// What an Idempotency-Key stands for: the same caller, function and input.
Hash request_hash(std::string_view caller, std::string_view function, std::string_view input) {
  return sha256(fmt::format("{}\n{}\n{}", caller, function, input));
}

// Under which a session is found again by the request that opened it; "" without an idempotency key. A call that ends
// its session must not find one that was opened to stay.
std::string opening_key(const RunRequest& request, bool one_call) {
  if (request.idempotency_key.empty()) return "";
  return to_hex(sha256(fmt::format("{}\n{}\n{}{}", request.actor, request.app, one_call ? "one call\n" : "",
                                   request.idempotency_key)));
}

void check_same_request(const store::TaskRecord& first, const Hash& request_hash) {
  if (first.request_hash == request_hash) return;
  throw Error(ErrorCode::idempotency_mismatch, "this Idempotency-Key was used for another request",
              {{"task", first.id}});
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

// Gives back what a table needed when it held many times as much.
template <class Table>
void shrink(Table& table) {
  constexpr std::size_t small = 1'024;
  if (table.bucket_count() > std::max(small, 8 * table.size())) table.rehash(2 * table.size());
}

// What could not be made durable has been logged, and the next start settles it.
Async<void> leave(std::shared_ptr<Actor> actor, Error why) {
  try {
    co_await actor->leave(std::move(why));
  } catch (const Error&) {
    co_return;
  }
}

}  // namespace

Async<std::string> Runtime::make_folder(Parts& parts, store::SessionRecord record) {
  if (!parts.options.make_folder) co_return "";
  co_return co_await parts.blocking.run([&] { return parts.options.make_folder(record); });
}

Runtime::Runtime(Executor executor, store::Store& store, Clock& clock, Random& random, const Log& log,
                 Options options)
    : parts_(std::make_unique<Parts>(std::move(executor), store, clock, random, log, std::move(options),
                                     [this](std::string id) { return take_up(std::move(id)); })) {
  Parts& parts = *parts_;
  parts.around.reset(new Actor::Surroundings{
      .serving = {.executor = parts.executor,
                  .clock = parts.clock,
                  .cancel_grace = parts.options.cancel_grace,
                  .counts = parts.counts,
                  .make_folder =
                      [&parts](store::SessionRecord record) { return make_folder(parts, std::move(record)); },
                  .clean_up =
                      [&parts](store::ResourceRecord resource, std::string folder) {
                        return parts.blocking.run([resource = std::move(resource), folder = std::move(folder)] {
                          return clean_up_leftover(resource, folder);
                        });
                      },
                  .bring_files = parts.options.bring_files,
                  .keep_files = parts.options.keep_files,
                  .call_app =
                      [this](std::string app, std::string function, Json input, std::string actor) {
                        return call_app(std::move(app), std::move(function), std::move(input), std::move(actor));
                      }},
      .group = parts.group,
      .log = parts.log,
      .close_grace = parts.options.close_grace,
      .rest_after = parts.options.rest_after,
      .waiting_bytes = parts.waiting_bytes,
      .waking_to_end = parts.waking_to_end,
      .schedule = parts.schedule,
      .scheduled_call = [this](std::string task_id,
                               std::string app) { return scheduled_call(std::move(task_id), std::move(app)); },
      .on_final =
          [&parts](const LiveCall& call) {
            parts.calls.erase(call.task.id);
            if (call.task.webhook) parts.options.webhook_owed();
            if (parts.draining && parts.calls.empty()) parts.drained.notify_all();
          },
      .on_leave =
          [&parts](const std::string& id, std::optional<Time> due) {
            if (due) parts.sleepers.add(*due, id);
            const auto found = parts.actors.find(id);
            if (found == parts.actors.end()) return;
            --parts.sessions_of_app[found->second->record().app];
            parts.actors.erase(found);
            shrink(parts.actors);
          }});
}

Runtime::~Runtime() {
  assert(parts_->actors.empty());
}

void Runtime::add_app(std::shared_ptr<session::App> app) {
  const std::string name = app->info().name;
  if (!parts_->apps.emplace(name, std::move(app)).second) {
    throw Error(ErrorCode::already_exists, fmt::format("there are two apps named '{}'", name));
  }
}

std::vector<session::AppInfo> Runtime::apps() const {
  std::vector<session::AppInfo> apps;
  for (const auto& [name, app] : parts_->apps) apps.push_back(app->info());
  return apps;
}

session::AppInfo Runtime::app(const std::string& name) const {
  return find_app(name)->info();
}

JsonObject Runtime::describe_app(std::string_view name) const {
  return find_app(name)->describe();
}

void Runtime::note_missing_app(std::string name, std::string why) {
  parts_->missing_apps.insert_or_assign(std::move(name), std::move(why));
}

std::shared_ptr<session::App> Runtime::find_app(std::string_view name) const {
  const auto found = parts_->apps.find(name);
  if (found == parts_->apps.end()) {
    const auto why = parts_->missing_apps.find(name);
    throw Error(ErrorCode::app_not_found, fmt::format("there is no app '{}'{}", to_valid_utf8(name.substr(0, 128)),
                                                      why == parts_->missing_apps.end() ? "" : ": " + why->second));
  }
  return found->second;
}

void Runtime::check_serving() const {
  if (parts_->draining) throw Error(ErrorCode::unavailable, "the server is stopping");
}

Async<TaskView> Runtime::run(RunRequest request) {
  check_serving();
  check_run_at(request);
  const bool opens = request.session.empty() || request.session == "new";
  const bool one_call = request.session.empty();
  const std::shared_ptr<session::App> app = request.app.empty() ? nullptr : find_app(request.app);
  if (opens) {
    if (!app) throw Error(ErrorCode::invalid_request, "'app' is missing", {{"field", "app"}});
    choose_function(request, app->info());
    request.session = co_await open_session(request, app, one_call);
  }

  std::shared_ptr<LiveCall> call;
  std::exception_ptr refused;
  try {
    call = co_await take_in(request, app, one_call);
  } catch (...) {
    refused = std::current_exception();
  }
  if (refused) {
    // Whatever stands in the way of a call now, the first one under its key may have passed it.
    if (auto first = co_await first_call(request)) co_return std::move(*first);
    std::rethrow_exception(refused);
  }
  co_return co_await answer(call, request.wait);
}

void Runtime::choose_function(RunRequest& request, const session::AppInfo& info) {
  if (request.function.empty()) request.function = info.default_function;
  if (std::ranges::find(info.functions, request.function) != info.functions.end()) return;
  throw Error(ErrorCode::function_not_found,
              fmt::format("app '{}' has no function '{}'; it has {}", info.name,
                          to_valid_utf8(request.function.substr(0, limits::function_name_bytes)),
                          fmt::join(info.functions, ", ")));
}

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

// Puts the call in its session's queue; or finds the one that is there under the same key.
Async<std::shared_ptr<LiveCall>> Runtime::take_in(RunRequest& request, std::shared_ptr<session::App> app,
                                                  bool one_call) {
  const std::shared_ptr<Actor> actor = co_await find_session(request.session, Purpose::call);
  if (actor->app() == nullptr) {
    throw Error(ErrorCode::app_mismatch, fmt::format("session {} has no app to call", request.session));
  }
  if (app && app.get() != actor->app()) {
    throw Error(ErrorCode::app_mismatch, fmt::format("session {} belongs to app '{}', not '{}'", request.session,
                                                     actor->record().app, request.app));
  }
  choose_function(request, actor->app()->info());
  const std::shared_ptr<LiveCall> call = make_call(request, *actor);
  call->names_files = request.names_files;
  call->ends_session = one_call;
  const bool keyed = !request.idempotency_key.empty();
  if (auto first = keyed ? actor->call_with_key(request.idempotency_key) : nullptr) {
    check_same_request(first->task, call->task.request_hash);
    if (co_await first->accepted.wait()) co_return first;
    throw Error(ErrorCode::unavailable, "the first call with this key could not be accepted");
  }
  check_serving();
  if (call->task.run_at > parts_->clock.now()) {
    co_await actor->schedule(call);
    co_return call;
  }
  parts_->calls.emplace(call->task.id, call);
  try {
    co_await actor->submit(call, !request.wait || keyed);
  } catch (...) {
    parts_->calls.erase(call->task.id);
    throw;
  }
  co_return call;
}

std::shared_ptr<LiveCall> Runtime::make_call(RunRequest& request, const Actor& actor) const {
  store::TaskRecord task;
  task.created_at = task.updated_at = parts_->clock.now();
  task.id = new_task_id(task.created_at, parts_->random);
  task.session_id = actor.record().id;
  task.function = request.function;
  task.idempotency_key = request.idempotency_key;
  task.run_at = request.run_at;
  task.webhook = request.webhook;
  task.input = to_text(request.input, {.bytes = limits::json_bytes, .depth = limits::json_depth});
  if (!task.idempotency_key.empty()) task.request_hash = request_hash(request.actor, task.function, task.input);
  // The input of a request with a key may be asked for once more.
  Json input = task.idempotency_key.empty() ? std::move(request.input) : request.input;
  return std::make_shared<LiveCall>(std::move(task), actor.record().app, std::move(input), request.actor,
                                    request.call_timeout.value_or(actor.app()->info().call_timeout));
}

// The call that came under the same key before, here or before a restart, also where its session is over: who missed
// the answer of the call that ended it must still get it.
Async<std::optional<TaskView>> Runtime::first_call(const RunRequest& request) {
  const std::string& id = request.session;
  if (request.idempotency_key.empty() || !is_session_id(id)) co_return std::nullopt;
  std::optional<store::TaskRecord> first = co_await parts_->store.task_by_key(id, request.idempotency_key);
  if (first && !store::is_final(first->status)) {
    co_await settle(id);
    first = co_await parts_->store.task_by_key(id, request.idempotency_key);
  }
  if (!first) co_return std::nullopt;
  const auto live = live_call(first->id);
  if (request.wait && !live && !store::is_final(first->status)) co_return std::nullopt;
  const SessionView of = co_await session(id);
  const auto app = parts_->apps.find(of.record.app);
  if (app == parts_->apps.end() || (!request.app.empty() && request.app != of.record.app)) co_return std::nullopt;
  const std::string& function = request.function.empty() ? app->second->info().default_function : request.function;
  const store::JsonText input = to_text(request.input, {.bytes = limits::json_bytes, .depth = limits::json_depth});
  check_same_request(*first, request_hash(request.actor, function, input));
  if (live) co_return co_await answer(live, request.wait);
  co_return TaskView{std::move(*first), of.record.app};
}

Async<TaskView> Runtime::answer(std::shared_ptr<LiveCall> call, bool wait) const {
  if (wait) co_await LiveCall::wait_final(call);
  co_return view(*call);
}

Async<TaskView> Runtime::task(std::string task_id) {
  if (const auto live = live_call(task_id)) co_return view(*live);
  std::optional<store::TaskRecord> stored;
  if (is_task_id(task_id)) stored = co_await parts_->store.task(task_id);
  if (stored && !store::is_final(stored->status) && !store::is_scheduled(*stored) &&
      !parts_->actors.contains(stored->session_id)) {
    co_await try_to_settle(stored->session_id);
    stored = co_await parts_->store.task(task_id);
  }
  if (!stored) {
    throw Error(ErrorCode::task_not_found, fmt::format("task not found: {}", to_valid_utf8(task_id.substr(0, 64))));
  }
  const SessionView of = co_await session(stored->session_id);
  co_return TaskView{std::move(*stored), of.record.app};
}

std::shared_ptr<LiveCall> Runtime::live_call(const std::string& task_id) const {
  const auto found = parts_->calls.find(task_id);
  return found == parts_->calls.end() ? nullptr : found->second;
}

Async<TaskView> Runtime::cancel(std::string task_id) {
  if (!live_call(task_id)) {
    const TaskView stored = co_await task(task_id);
    if (store::is_scheduled(stored.task)) co_await cancel_scheduled(stored.task);
  }
  const auto live = live_call(task_id);
  if (!live) co_return co_await task(std::move(task_id));
  const auto actor = parts_->actors.find(live->task.session_id);
  if (actor != parts_->actors.end()) {
    actor->second->cancel(live, Error(ErrorCode::cancelled, "the call was cancelled by request"));
  }
  co_return view(*live);
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
  session::Beginning beginning;
  beginning.opening_key = std::move(opening_key);
  store::SessionRecord& record = beginning.record;
  record.context = given_text("context", request.context);
  record.labels = given_text("labels", request.labels);
  record.metadata = given_text("metadata", request.metadata);
  record.setup = given_text("setup", request.setup);
  record.user = request.user;
  record.owner = parts_->options.owner;
  record.lifetime = request.lifetime;
  record.idle_timeout = request.session_timeout;
  JsonObject data{{"user", record.user}, {"context", to_hex(sha256(record.context))}};
  if (app) {
    record.app = app->info().name;
    record.app_version = app->info().version;
    if (!record.idle_timeout) record.idle_timeout = app->info().session_timeout;
    data["app"] = record.app;
    data["version"] = record.app_version;
  }
  if (record.idle_timeout) data["timeout"] = record.idle_timeout->count();
  if (record.idle_timeout || record.lifetime) {
    const Seconds longest = Seconds::max();
    record.head.expires_at =
        parts_->clock.now() + std::min(record.idle_timeout.value_or(longest), record.lifetime.value_or(longest));
  }
  beginning.created = {.type = "session.created", .actor = request.actor, .data = to_text(data)};

  if (app) check_room_for(*app);
  ++parts_->sessions_of_app[record.app];  // the place is taken before anything is awaited
  const std::string app_name = record.app;
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

TaskView Runtime::view(const LiveCall& call) const {
  TaskView view{call.task, call.app};
  const auto actor = parts_->actors.find(call.task.session_id);
  if (call.task.status == store::TaskStatus::queued && actor != parts_->actors.end()) {
    view.queue_position = actor->second->queue_position(call);
  }
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
  SessionViews views{.next_cursor = std::move(page.next_cursor)};
  views.sessions.reserve(page.sessions.size());
  for (store::SessionRecord& record : page.sessions) views.sessions.push_back(view(std::move(record)));
  co_return views;
}

Async<void> Runtime::end_session(std::string session_id, std::string actor_name) {
  const std::shared_ptr<Actor> actor = co_await find_session(std::move(session_id));
  co_await actor->end(std::move(actor_name));
}

Async<std::map<std::string, store::JsonText>> Runtime::state(std::string session_id) {
  std::optional<store::Snapshot> stored;
  if (is_session_id(session_id)) stored = co_await parts_->store.load(session_id);
  if (!stored) throw no_session(session_id);
  co_return std::move(stored->state);
}

Async<void> Runtime::change_state(std::string session_id,
                                  std::vector<std::pair<std::string, std::optional<Json>>> changes,
                                  std::string actor_name) {
  check_serving();
  const std::shared_ptr<Actor> actor = co_await find_session(std::move(session_id));
  co_await actor->change_state(std::move(changes), std::move(actor_name));
}

Async<Json> Runtime::call_app(std::string app, std::string function, Json input, std::string actor) {
  const TaskView view = co_await run(RunRequest{
      .app = std::move(app), .function = std::move(function), .input = std::move(input), .actor = std::move(actor)});
  if (view.task.status != store::TaskStatus::completed) {
    throw Error(Error::from_json(parse_json_object(view.task.error)));
  }
  co_return parse_json(view.task.output);
}

Async<void> Runtime::recover() {
  const GoingOn going_on = co_await settle_leftovers(recovery(*parts_));
  for (const auto& [due, id] : going_on.sessions) parts_->sleepers.add(due, id);
  for (const store::ScheduledSession& of : going_on.scheduled) parts_->schedule.add(of.next, of.session_id);
}

RecoverySurroundings Runtime::recovery(Parts& parts) {
  return {.store = parts.store,
          .clock = parts.clock,
          .log = parts.log,
          .owner = parts.options.owner,
          .make_folder = parts.around->serving.make_folder,
          .clean_up = parts.around->serving.clean_up,
          // An app that is missing may come back.
          .outlives_worker =
              [&parts](const std::string& name) {
                const auto found = parts.apps.find(name);
                return found == parts.apps.end() || found->second->info().recover;
              },
          .is_over = [&parts](const std::string& name,
                              store::SessionStatus status) { ++parts.counts.of_app(name).sessions_over[status]; },
          .scheduled = [&parts](std::size_t calls) { parts.schedule.enter(calls); },
          .is_dropped = [&parts](const store::TaskRecord& task) { parts.schedule.finish(task); }};
}

// Ends the stored sessions whose time is over.
Async<void> Runtime::end_overslept(Parts& parts) {
  while (!parts.draining) {
    const std::optional<std::string> id = parts.sleepers.take_due();
    if (!id) break;
    const AsyncMutex::Turn turn = co_await parts.adopting.take();
    // One that is in memory looks after itself.
    if (parts.actors.contains(*id)) continue;
    if (const auto due = co_await settle_or_log(recovery(parts), *id)) parts.sleepers.add(*due, *id);
  }
  parts.waking = false;
}

Statistics Runtime::statistics() const {
  const auto workers =
      std::ranges::count_if(parts_->actors, [](const auto& entry) { return entry.second->has_worker(); });
  return {parts_->actors.size(), static_cast<std::size_t>(workers), parts_->calls.size(), parts_->schedule.calls()};
}

const Counts& Runtime::counts() const {
  return parts_->counts;
}

std::map<std::string, AppLoad> Runtime::load() const {
  std::map<std::string, AppLoad> load;
  for (const auto& [name, app] : parts_->apps) {
    const JsonObject description = app->describe();
    const Json* const spares = description.if_contains("spares");
    load[name].spares = spares != nullptr ? spares->to_number<std::uint64_t>() : 0;
  }
  for (const auto& [id, actor] : parts_->actors) {
    AppLoad& of = load[actor->record().app];
    ++of.sessions;
    of.waiting += actor->queued();
    if (actor->is_busy()) ++of.busy;
    if (!actor->has_worker()) continue;
    ++of.workers;
    const JsonObject worker = actor->describe_worker();
    const Json* const pid = worker.if_contains("pid");
    if (pid != nullptr && pid->is_int64()) of.worker_pids.push_back(pid->get_int64());
  }
  return load;
}

bool Runtime::is_draining() const {
  return parts_->draining;
}

Async<void> Runtime::close(Instant deadline) {
  parts_->draining = true;
  parts_->sleepers.close();
  parts_->schedule.close();
  while (!parts_->calls.empty() && !parts_->hurried) {
    if (!co_await parts_->drained.wait_until(parts_->clock, deadline)) break;
  }
  TaskGroup leaving(parts_->executor);
  for (const auto& [id, actor] : parts_->actors) {
    leaving.spawn(leave(actor, Error(ErrorCode::worker_lost, "the server stopped")));
  }
  co_await leaving.join();
  co_await parts_->group.join();
}

void Runtime::hurry() {
  parts_->hurried = true;
  parts_->drained.notify_all();
}

}  // namespace sojourn::runtime
