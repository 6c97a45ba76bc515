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

// What an Idempotency-Key stands for: the same caller, function and input.
Hash request_hash(std::string_view caller, std::string_view function, std::string_view input) {
  return sha256(fmt::format("{}\n{}\n{}", caller, function, input));
}

void check_same_request(const store::TaskRecord& first, const Hash& request_hash) {
  if (first.request_hash == request_hash) return;
  throw Error(ErrorCode::idempotency_mismatch, "this Idempotency-Key was used for another request",
              {{"task", first.id}});
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

Async<void> Runtime::keep_folder(Parts& parts, store::SessionRecord record) {
  if (parts.options.keep_folder) co_await parts.blocking.run([&] { parts.options.keep_folder(record); });
}

Runtime::Runtime(Executor executor, store::Store& store, Clock& clock, Random& random, const Log& log,
                 Options options)
    : parts_(std::make_unique<Parts>(std::move(executor), store, clock, random, log, std::move(options),
                                     [this](std::string id) { return take_up(std::move(id)); })) {
  Parts& parts = *parts_;
  parts.around.reset(new Actor::Surroundings{
      .serving =
          {.executor = parts.executor,
           .clock = parts.clock,
           .cancel_grace = parts.options.cancel_grace,
           .counts = parts.counts,
           .make_folder = [&parts](store::SessionRecord record) { return make_folder(parts, std::move(record)); },
           .keep_folder = [&parts](store::SessionRecord record) { return keep_folder(parts, std::move(record)); },
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
  const bool is_known = store::is_final(first->status) || store::is_scheduled(*first);
  if (request.wait && !live && !is_known) co_return std::nullopt;
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

TaskView Runtime::view(const LiveCall& call) const {
  TaskView view{call.task, call.app};
  const auto actor = parts_->actors.find(call.task.session_id);
  if (call.task.status == store::TaskStatus::queued && actor != parts_->actors.end()) {
    view.queue_position = actor->second->queue_position(call);
  }
  return view;
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
