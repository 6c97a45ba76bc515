#include "sojourn/runtime/serving.hpp"

#include <fmt/format.h>

#include <cassert>
#include <cstring>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/call_scope.hpp"

namespace sojourn::runtime {

namespace {

Async<void> open_into(std::unique_ptr<session::Worker>& worker, session::App& app, session::Opening opening,
                      Instant deadline) {
  worker = co_await app.open(std::move(opening), deadline);
}

// A worker that never served.
Async<void> drop(std::unique_ptr<session::Worker> worker, Instant deadline) {
  try {
    co_await worker->close(session::CloseReason::lost, deadline);
  } catch (const Error&) {
    co_return;  // why it had to go says more
  }
}

// The output's text, or the error that the app's output is no JSON.
store::JsonText output_text(const Json& output, std::size_t most) {
  return to_text(output, {.bytes = most, .depth = limits::json_depth});
}

// Whether it is worth a closer look; most outputs are not, and it costs them next to nothing.
bool may_name_files(std::string_view output) {
  constexpr std::string_view mark = "\"file\":{";
  return ::memmem(output.data(), output.size(), mark.data(), mark.size()) != nullptr;
}

// With the rest of an event, within limits::event_bytes.
constexpr std::size_t error_message_bytes = limits::event_bytes / 16;
constexpr std::size_t error_details_bytes = limits::event_bytes / 2;

// Of each resource that a session holds.
constexpr std::size_t resource_note_bytes = 8 * limits::kibibyte;

// An error from outside as one that can be written down: details that JSON cannot hold, or too large ones, go.
Error writable(const Error& error) {
  JsonObject details = error.details();
  try {
    to_text(details, {.bytes = error_details_bytes, .depth = limits::json_depth - 2});
  } catch (const Error&) {
    details.clear();
  }
  return Error(error.code(), to_valid_utf8(error.message().substr(0, error_message_bytes)), std::move(details))
      .set_retryable(error.retryable());
}

}  // namespace

Serving::Serving(const Surroundings& surroundings, session::KeptSession& kept, session::App* app, bool restored,
                 Hooks hooks)
    : surroundings_(surroundings), kept_(kept), app_(app), restored_(restored), hooks_(std::move(hooks)) {}

Serving::~Serving() {
  assert(!worker_);
}

Async<Outcome> Serving::call(std::shared_ptr<LiveCall> call) {
  const Instant start = surroundings_.clock.instant();
  const Instant deadline = start + call->timeout;  // of opening a worker and the call together
  const std::vector<store::StateChange> outside_changes = outside_changes_;
  Outcome outcome;
  running_ = call;
  stop_reason_.reset();
  try {
    if (!worker_) co_await open_worker(call.get(), deadline);
    restored_ = true;  // so that another worker would be told
    outcome.had_worker = true;
    if (stop_reason_) throw Error(*stop_reason_);
    call->set_status(store::TaskStatus::running, surroundings_.clock.now());
    deadline_alarm_ =
        surroundings_.clock.set_alarm(deadline, surroundings_.executor, [this, timeout = call->timeout] {
          stop_call(Error(ErrorCode::call_timeout, fmt::format("the call took longer than {} ms", timeout.count())));
        });
    Json input = co_await take_input(call);
    if (stop_reason_) throw Error(*stop_reason_);
    Scope scope(*this, call,
                {.task_id = call->task.id,
                 .function = call->task.function,
                 .input = std::move(input),
                 .outside_changes = std::exchange(outside_changes_, {}),
                 .deadline = deadline});
    outcome.output = co_await take_output(call, co_await call_worker(*call, scope));
    outcome.events = scope.take_events();
    outcome.ends_session = scope.ends_session();
  } catch (...) {
    outcome.error = writable(to_error(std::current_exception()));
    outcome.output.reset();
    // Perhaps it was not told of them; a second time does no harm.
    outside_changes_.insert(outside_changes_.begin(), outside_changes.begin(), outside_changes.end());
  }
  deadline_alarm_.reset();
  grace_alarm_.reset();
  running_.reset();

  const bool is_open = worker_ && !(outcome.error && is_gone(*outcome.error));
  if (outcome.error && !lost_cause_ && !is_open && !may_open_later(*outcome.error, deadline)) {
    lost_cause_ = outcome.error;
  }
  if (stop_reason_ && (outcome.error || stop_reason_->code() != ErrorCode::cancelled)) {
    outcome = Outcome{.output = std::nullopt,
                      .error = stop_reason_,
                      .cancelled = stop_reason_->code() == ErrorCode::cancelled,
                      .had_worker = outcome.had_worker};
  }
  outcome.took = std::chrono::duration_cast<Microseconds>(surroundings_.clock.instant() - start);
  co_return outcome;
}

Async<void> Serving::warm_up(Milliseconds timeout) {
  if (worker_) co_return;
  stop_reason_.reset();
  warming_up_ = true;
  const Instant deadline = surroundings_.clock.instant() + timeout;
  std::optional<Error> failure;
  try {
    co_await open_worker(nullptr, deadline);
  } catch (...) {
    failure = stop_reason_ ? *stop_reason_ : writable(to_error(std::current_exception()));
  }
  warming_up_ = false;
  grace_alarm_.reset();
  if (!failure) co_return;
  if (!lost_cause_ && !may_open_later(*failure, deadline)) lost_cause_ = failure;
  throw Error(*failure);
}

Async<Json> Serving::take_input(std::shared_ptr<LiveCall> call) {
  if (!call->names_files || !surroundings_.bring_files) co_return std::move(call->input);
  co_return co_await surroundings_.bring_files(std::move(call->input), folder_);
}

Async<store::JsonText> Serving::take_output(std::shared_ptr<LiveCall> call, Json output) {
  const std::size_t most = app_->info().output_bytes;
  store::JsonText text = output_text(output, most);
  if (!surroundings_.keep_files || !may_name_files(text)) co_return text;
  output = co_await surroundings_.keep_files(std::move(output),
                                             {.folder = folder_, .session_id = kept_.id(), .actor = call->actor});
  co_return output_text(output, most);
}

Async<Json> Serving::call_worker(LiveCall& call, Scope& scope) {
  if (auto output = co_await call_worker_if_there(scope)) co_return std::move(*output);
  co_await close(session::CloseReason::lost, surroundings_.clock.instant() + surroundings_.cancel_grace);
  co_await open_worker(&call, scope.request().deadline);
  if (stop_reason_) throw Error(*stop_reason_);
  call.set_status(store::TaskStatus::running, surroundings_.clock.now());
  co_return co_await worker_->call(scope);
}

// Nothing when the worker was gone before the call could reach it, and another may take its place.
Async<std::optional<Json>> Serving::call_worker_if_there(Scope& scope) {
  try {
    co_return co_await worker_->call(scope);
  } catch (const Error& error) {
    if (!session::is_unreached(error) || !app_->info().recover || stop_reason_) throw;
    if (!lost_cause_) lost_cause_ = writable(error);
  }
  co_return std::nullopt;
}

void Serving::stop_call(Error why) {
  if ((!running_ && !warming_up_) || stop_reason_) return;
  stop_reason_ = why;
  if (running_) {
    running_->request_cancel();
    if (worker_) worker_->cancel();
    running_->set_status(store::TaskStatus::cancelling, surroundings_.clock.now());
  }
  const Instant end = surroundings_.clock.instant() + surroundings_.cancel_grace;
  grace_alarm_ = surroundings_.clock.set_alarm(end, surroundings_.executor, [this, why = std::move(why)] {
    if (starting_ != nullptr) starting_->cancel();
    if (!worker_ || !running_) return;
    if (!lost_cause_) lost_cause_ = Error(ErrorCode::worker_lost, "the worker was ended: " + why.message());
    worker_->kill(why);
  });
}

void Serving::abandon(const Error& why) {
  if (!worker_ || lost_cause_) return;
  lost_cause_ = Error(ErrorCode::worker_lost, "its last call could not be made durable: " + why.message());
}

Async<void> Serving::close(session::CloseReason reason, Instant deadline) {
  const std::unique_ptr<session::Worker> worker = std::move(worker_);
  std::optional<Error> lost = std::exchange(lost_cause_, std::nullopt);
  if (!worker) co_return;
  std::optional<Error> failure;
  try {
    co_await worker->close(reason, deadline);
  } catch (...) {
    failure = writable(to_error(std::current_exception()));
  }
  if (!lost && failure && is_gone(*failure)) lost = std::exchange(failure, std::nullopt);
  const session::WorkerUsage used = worker->usage();
  usage_.add({.worker_time = std::chrono::duration_cast<Microseconds>(surroundings_.clock.instant() - started_at_),
              .cpu_time = used.cpu_time,
              .peak_memory = used.peak_memory});
  if (lost) {
    append("worker.lost", {{"reason", lost->message()}});
  } else {
    append("worker.closed", {{"reason", session::to_string(reason)}});
  }
  if (failure) append("resource.cleanup_failed", {{"message", failure->message()}, {"details", failure->details()}});
  if (lost) {
    co_await clean_up_after_lost_worker();
  } else {
    resources_.take_open();  // the worker released them, or has said above which it could not
  }
}

Async<void> Serving::commit(session::Step step) {
  const bool urgent = std::exchange(urgent_, false);
  const auto recording = std::exchange(recording_, {});
  resources_.move_into(step);
  step.usage.add(std::exchange(usage_, {}));
  const store::Usage usage = step.usage;
  const std::vector<store::ResourceRecord> added = step.resources_added;
  const std::vector<std::string> released = step.resources_released;
  try {
    co_await kept_.commit(std::move(step));
  } catch (...) {
    resources_.take_back(added, released);
    usage_.add(usage);
    if (to_error(std::current_exception()).code() == ErrorCode::already_exists) {
      // A call was refused for its key, which is no fault of what rode along.
      urgent_ = urgent_ || urgent;
      recording_.insert(recording_.begin(), recording.begin(), recording.end());
      if (wants_commit()) hooks_.commit_wanted();
    } else {
      for (const auto& recorded : recording) recorded->fail(std::current_exception());
    }
    throw;
  }
  for (const auto& recorded : recording) recorded->set(true);
}

Async<void> Serving::clean_up_after_lost_worker() {
  for (const store::ResourceRecord& resource : resources_.take_open()) {
    JsonObject data{{"id", resource.id}, {"kind", resource.kind}};
    const std::optional<std::string> failure = co_await surroundings_.clean_up(resource, folder_);
    if (failure) data["reason"] = to_valid_utf8(*failure);
    append(failure ? "resource.leaked" : "resource.released", data);
  }
}

void Serving::note_outside_changes(const std::vector<store::StateChange>& changes) {
  // A worker that is opened later gets the whole state.
  if (!worker_) return;
  for (const store::StateChange& change : changes) {
    std::erase_if(outside_changes_, [&](const store::StateChange& earlier) { return earlier.key == change.key; });
    outside_changes_.push_back(change);
  }
}

void Serving::log(LogLevel level, std::string_view stream, std::string_view message, JsonObject fields) {
  append_log(level, stream, message, fields, running_ ? &running_->task.id : nullptr);
}

void Serving::resource_added(session::ResourceNote resource) {
  if (resources_.open() >= limits::resources_per_session) {
    throw Error(ErrorCode::too_large,
                fmt::format("a session has at most {} resources", limits::resources_per_session));
  }
  store::JsonText cleanup = to_text(resource.cleanup);
  if (resource.id.size() + resource.kind.size() + cleanup.size() > resource_note_bytes) {
    throw Error(ErrorCode::too_large, fmt::format("a resource's id, kind and clean-up have at most {} bytes together",
                                                  resource_note_bytes));
  }
  append("resource.added", {{"id", resource.id}, {"kind", resource.kind}, {"cost", resource.cost}});
  urgent_ = urgent_ || !resource.cleanup.is_null() || resource.recorded;
  surroundings_.counts.resource_registered(resource.kind);
  if (resource.recorded) recording_.push_back(std::move(resource.recorded));
  resources_.add({.session_id = kept_.id(),
                  .id = std::move(resource.id),
                  .kind = std::move(resource.kind),
                  .cost = resource.cost,
                  .created_at = surroundings_.clock.now(),
                  .cleanup = std::move(cleanup)});
  if (wants_commit()) hooks_.commit_wanted();
}

void Serving::resource_released(std::string_view id) {
  if (resources_.release(id)) append("resource.released", {{"id", id}});
  if (wants_commit()) hooks_.commit_wanted();
}

bool Serving::wants_commit() const {
  return urgent_ || kept_.journal().waiting() >= limits::events_per_commit;
}

void Serving::lost(Error cause) {
  if (!lost_cause_) lost_cause_ = writable(cause);
  if (!running_ && !warming_up_) hooks_.lost();
}

Async<void> Serving::open_worker(LiveCall* call, Instant deadline) {
  const Instant start = surroundings_.clock.instant();
  if (call != nullptr) call->set_status(store::TaskStatus::setting_up, surroundings_.clock.now());
  folder_ = co_await surroundings_.make_folder(kept_.record());
  if (stop_reason_) throw Error(*stop_reason_);
  session::Opening opening{.session_id = kept_.id(),
                           .context = kept_.session().context(),
                           .setup = parse_json(kept_.record().setup),
                           .state = {},
                           .restored = restored_,
                           .folder = folder_,
                           .events = this};
  for (const std::string& key : kept_.session().state().keys()) {
    opening.state.emplace_back(key, *kept_.session().state().get(key));
  }
  outside_changes_.clear();
  lost_cause_.reset();
  co_await start_worker(std::move(opening), deadline);
  started_at_ = start;
  const Instant::duration took = surroundings_.clock.instant() - start;
  JsonObject data = worker_->describe();
  const Json* const kind = data.if_contains("start");
  const std::string start_kind(kind != nullptr ? std::string_view(kind->as_string()) : "cold");
  surroundings_.counts.of_app(app_->info().name).worker_starts[start_kind].add(took);
  data["restored"] = restored_;
  data["ms"] = std::chrono::duration_cast<Milliseconds>(took).count();
  append("worker.started", data);
}

// Apart from the call, so that it can be asked to stop: a program may load for minutes. Of the first worker the
// folder comes to the disk meanwhile.
Async<void> Serving::start_worker(session::Opening opening, Instant deadline) {
  TaskGroup starting(surroundings_.executor);
  starting_ = &starting;
  if (!folder_is_kept_) starting.spawn(surroundings_.keep_folder(kept_.record()));
  starting.spawn(open_into(worker_, *app_, std::move(opening), deadline));
  std::exception_ptr failure;
  try {
    co_await starting.join();
  } catch (...) {
    failure = std::current_exception();
  }
  starting_ = nullptr;
  if (failure && worker_) co_await drop(std::move(worker_), deadline);
  if (failure) std::rethrow_exception(failure);
  if (!worker_) {
    throw stop_reason_ ? Error(*stop_reason_) : Error(ErrorCode::worker_start_failed, "the start was broken off");
  }
  folder_is_kept_ = true;
}

void Serving::append_log(LogLevel level, std::string_view stream, std::string_view message, const JsonObject& fields,
                         const std::string* task_id) {
  JsonObject data{{"level", to_string(level)}, {"stream", stream}, {"message", to_valid_utf8(message)}};
  if (!fields.empty()) data["fields"] = fields;
  if (task_id != nullptr) data["task"] = *task_id;
  kept_.journal().append_log(
      {.type = "log", .actor = "app", .data = to_text(data), .time = surroundings_.clock.now()});
}

void Serving::append(std::string type, const JsonObject& data) {
  kept_.journal().append(
      {.type = std::move(type), .actor = "server", .data = to_text(data), .time = surroundings_.clock.now()});
}

bool Serving::is_gone(const Error& error) const {
  return error.code() == ErrorCode::worker_lost || error.code() == ErrorCode::protocol_error;
}

// Whether what no worker could be opened with says nothing of the next try: a retry can help, or who had asked for it
// waited no longer.
bool Serving::may_open_later(const Error& error, Instant deadline) const {
  return !worker_ && (stop_reason_ || error.retryable() || surroundings_.clock.instant() >= deadline);
}

}  // namespace sojourn::runtime
