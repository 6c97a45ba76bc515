#include "sojourn/runtime/actor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/runtime/call_record.hpp"

namespace sojourn::runtime {

namespace {

using store::SessionStatus;
using store::TaskStatus;

// A monotonic instant for a wall time that was stored, perhaps by a server before this one.
Instant instant_of(Clock& clock, Time when) {
  return clock.instant() + (when - clock.now());
}

// Whether the store knows `due` well enough.
bool is_same(std::optional<Time> due, std::optional<Time> stored) {
  if (!due || !stored) return due == stored;
  return std::chrono::abs(*due - *stored) < Milliseconds(1);
}

}  // namespace

Actor::Actor(const Surroundings& surroundings, std::unique_ptr<session::KeptSession> kept,
             std::shared_ptr<session::App> app, ActorCalls calls)
    : around_(surroundings),
      kept_(std::move(kept)),
      app_(std::move(app)),
      counts_(around_.serving.counts.of_app(record().app)),
      serving_(around_.serving, *kept_, app_.get(), record().head.last_call_at.has_value(),
               {.lost = [this] { lose_worker(); },
                .commit_wanted =
                    [this] {
                      if (!std::exchange(writing_down_, true)) around_.group.spawn(write_down(shared_from_this()));
                    }}),
      last_seq_(calls.last_seq),
      last_active_(around_.serving.clock.instant()) {
  const store::SessionRecord& session = record();
  if (session.lifetime) lifetime_end_ = instant_of(around_.serving.clock, session.created_at + *session.lifetime);
  for (store::ScheduledCall& call : calls.scheduled) scheduled_.emplace(call.run_at, std::move(call.task_id));
  // A session that comes back from the store keeps the time-out that it had there.
  if (session.idle_timeout && session.head.expires_at && scheduled_.empty()) {
    last_active_ =
        std::min(last_active_, instant_of(around_.serving.clock, *session.head.expires_at) - *session.idle_timeout);
  }
}

Actor::~Actor() {
  assert(!running_);
}

void Actor::start() {
  arm();
}

Error Actor::over_error(const std::string& id, SessionStatus status, std::string_view reason) {
  const JsonObject details{{"session_id", id}, {"status", store::to_string(status)}};
  switch (status) {
    case SessionStatus::expired:
      // Callers look for "session not found", the words of seed 004's recovery recipe.
      return Error(ErrorCode::session_expired, fmt::format("session expired: {} (session not found)", id), details);
    case SessionStatus::failed:
      return Error(ErrorCode::worker_lost, fmt::format("session failed: {}: {}", id, reason), details);
    default:
      return Error(ErrorCode::session_ended, fmt::format("session ended: {}", id), details);
  }
}

void Actor::check_open() const {
  const store::SessionHead& head = record().head;
  if (head.status != SessionStatus::active) throw over_error(record().id, head.status, head.end_reason);
  if (ending_ && ending_->status != SessionStatus::active) {
    throw over_error(record().id, ending_->status, ending_->reason);
  }
  if (over_ || (ending_ && ending_->leaves_memory)) {
    throw Error(ErrorCode::unavailable, fmt::format("session {} is just leaving memory", record().id));
  }
}

Async<void> Actor::submit(std::shared_ptr<LiveCall> call, bool durable) {
  check_open();
  const std::size_t bytes = call->task.input.size();
  check_room(bytes);
  if (!call->task.idempotency_key.empty()) keyed_.emplace(call->task.idempotency_key, call);
  const bool was_scheduled = call->task.run_at && take_scheduled(call->task.id);
  call->task.seq = ++last_seq_;
  call->queued_at = around_.serving.clock.instant();
  call->set_status(TaskStatus::queued, around_.serving.clock.now());
  if (!durable) call->accepted.set(true);
  push({call, {}, bytes});
  if (!durable) co_return;

  std::exception_ptr failure;
  try {
    session::Step step{.events = {accepted_event(*call)}, .tasks = {call->task}};
    step.tasks.front().status = TaskStatus::received;
    co_await commit(std::move(step));
  } catch (...) {
    failure = std::current_exception();
  }
  call->is_stored = !failure || was_scheduled;
  call->accepted.set(!failure);
  if (!failure) co_return;
  forget_key(*call);  // the same key may try again
  withdraw(*call);
  if (was_scheduled) {
    call->accepted = {};
    call->task.seq = 0;
    // Due first of its time, as it was.
    const Time run_at = *call->task.run_at;
    scheduled_.emplace_hint(scheduled_.lower_bound(run_at), run_at, call->task.id);
    around_.schedule.enter(1);
  }
  std::rethrow_exception(failure);
}

// Takes a call that could not be accepted out of the queue again, unless its turn has come.
void Actor::withdraw(const LiveCall& call) {
  const auto place = std::ranges::find(queue_, &call, [](const Item& item) { return item.call.get(); });
  if (place == queue_.end()) return;
  waiting_bytes_ -= place->bytes;
  around_.waiting_bytes -= place->bytes;
  queue_.erase(place);
}

void Actor::check_room(std::size_t bytes) const {
  const std::size_t most = app_ ? app_->info().queue_limit : limits::default_queue;
  if (queue_.size() >= most) {
    throw Error(ErrorCode::queue_full,
                fmt::format("session {} has {} calls waiting, the most allowed", record().id, most),
                {{"queue_limit", most}});
  }
  check_bytes(bytes);
}

void Actor::check_bytes(std::size_t bytes) const {
  // Whatever its size, one may always wait.
  if (waiting_bytes_ > 0 && waiting_bytes_ + bytes > limits::queue_bytes) {
    throw Error(ErrorCode::queue_full,
                fmt::format("the calls waiting for session {} hold {} bytes of at most {}", record().id,
                            waiting_bytes_, limits::queue_bytes),
                {{"queue_bytes", limits::queue_bytes}});
  }
  if (around_.waiting_bytes + bytes > limits::all_queues_bytes) {
    throw Error(ErrorCode::queue_full,
                fmt::format("the calls waiting for all sessions hold {} bytes of at most {}", around_.waiting_bytes,
                            limits::all_queues_bytes),
                {{"all_queues_bytes", limits::all_queues_bytes}});
  }
}

std::optional<std::size_t> Actor::queue_position(const LiveCall& call) const {
  std::size_t position = 1;
  for (const Item& item : queue_) {
    if (item.call.get() == &call) return position;
    ++position;
  }
  return std::nullopt;
}

void Actor::forget_key(const LiveCall& call) {
  const auto found = keyed_.find(call.task.idempotency_key);
  if (found != keyed_.end() && found->second.get() == &call) keyed_.erase(found);
}

std::shared_ptr<LiveCall> Actor::call_with_key(const std::string& key) const {
  const auto found = keyed_.find(key);
  return found == keyed_.end() ? nullptr : found->second;
}

void Actor::cancel(const std::shared_ptr<LiveCall>& call, Error why) {
  if (call == current_) {
    serving_.stop_call(std::move(why));
  } else {
    call->request_cancel();
  }
}

Async<void> Actor::keepalive(std::string actor) {
  check_open();
  touch();
  session::Step step;
  step.events.push_back({.type = "session.keepalive", .actor = std::move(actor)});
  step.change = [self = shared_from_this()](store::SessionHead& head) { head.expires_at = self->expires_at(); };
  co_await commit(std::move(step));
}

Async<void> Actor::change_state(std::vector<std::pair<std::string, std::optional<Json>>> changes, std::string actor,
                                std::optional<std::uint64_t> expected) {
  check_open();
  std::vector<store::StateChange> texts;
  std::size_t bytes = 0;
  for (const auto& [key, value] : changes) {
    texts.push_back({key, value ? std::optional(session::State::text_of(key, *value)) : std::nullopt});
    bytes += key.size() + (value ? texts.back().value->size() : 0);
  }
  check_room(bytes);
  const auto done = std::make_shared<Completion<bool>>();  // owned by this and by the item
  push({nullptr,
        [this, done, expected, texts = std::move(texts), actor = std::move(actor)] {
          return take_turn_to_write(texts, actor, expected, done);
        },
        bytes});
  co_await done->wait();
}

std::shared_ptr<Completion<bool>> Actor::warm_up(Milliseconds timeout) {
  check_open();
  check_room(0);
  const auto ready = std::make_shared<Completion<bool>>();  // owned by the caller and by the item
  push({nullptr, [this, ready, timeout] { return take_turn_to_warm_up(timeout, ready); }});
  return ready;
}

void Actor::push(Item item) {
  waiting_bytes_ += item.bytes;
  around_.waiting_bytes += item.bytes;
  queue_.push_back(std::move(item));
  wake();
}

Actor::Item Actor::take_next() {
  Item item = std::move(queue_.front());
  queue_.pop_front();
  waiting_bytes_ -= item.bytes;
  around_.waiting_bytes -= item.bytes;
  return item;
}

// Starts the coroutine that serves what waits and carries out an ending, unless it runs.
void Actor::wake() {
  if (running_) return;
  running_ = true;
  around_.group.spawn(run(shared_from_this()));
}

// Serves what waits until nothing does. `self` keeps the actor alive meanwhile.
Async<void> Actor::run(std::shared_ptr<Actor> self) {
  while (!over_ && (ending_ || rests_ || !queue_.empty())) {
    if (ending_) {
      co_await finish();
    } else if (queue_.empty()) {
      co_await rest();
    } else {
      rests_ = false;
      co_await serve_next();
    }
  }
  running_ = false;
  arm();
}

Async<void> Actor::serve_next() {
  const Item item = take_next();
  if (item.call) {
    co_await serve(item.call);
  } else {
    co_await item.action();
  }
}

// Puts the session to sleep, which then is only in the store; unless something arrives meanwhile.
Async<void> Actor::rest() {
  rests_ = false;
  Clock& clock = around_.serving.clock;
  rests_not_before_ = clock.instant() + around_.rest_after;  // where it cannot now, it tries again then
  co_await serving_.close(session::CloseReason::sleeping, clock.instant() + around_.close_grace);
  if (ending_ || !queue_.empty()) co_return;
  session::Step step{.change = [this](store::SessionHead& head) { head.expires_at = expires_at(); }};
  const bool is_known = is_same(expires_at(), record().head.expires_at);
  const bool nothing = is_known && has_nothing_to_commit(step);
  if (!nothing && !co_await commit_or_log(std::move(step), "a session could not be put to rest")) co_return;
  if (ending_ || !queue_.empty() || committing_ > 0 || appending_) co_return;
  over_ = true;
  around_.on_leave(record().id, record().head.expires_at);
}

Async<void> Actor::serve(std::shared_ptr<LiveCall> call) {
  if (!co_await call->accepted.wait()) co_return;
  if (ending_ && ending_->leaves_memory) {
    queue_.push_front({call, {}, 0});  // to be dropped with what else waits
    co_return;
  }
  if (call->cancel_requested()) {
    co_await drop(call, Error(ErrorCode::cancelled, "the call was cancelled while it waited"));
    co_return;
  }
  current_ = call;
  call->task.started_at = around_.serving.clock.now();
  counts_.wait_time.add(around_.serving.clock.instant() - call->queued_at);
  Outcome outcome = co_await serving_.call(call);
  counts_.call_time.add(outcome.took);
  current_.reset();
  co_await conclude(std::move(call), std::move(outcome));
}

// Makes durable how a call ended, all in one commit, and only then tells anyone.
Async<void> Actor::conclude(std::shared_ptr<LiveCall> call, Outcome outcome) {
  const Time now = around_.serving.clock.now();
  CallEnd end{.time = now};
  session::Step step;
  if (outcome.output) {
    end.output = std::move(*outcome.output);
    step.state = kept_->session().state().changes();
    step.events = std::move(outcome.events);
    step.events.push_back(completed_event(*call, end.output, step.state, outcome.took));
  } else {
    // A worker that answered all the same believes in what it changed.
    serving_.note_outside_changes(kept_->session().state().discard());
    end.status = outcome.cancelled ? TaskStatus::cancelled : TaskStatus::failed;
    end.error = to_text(outcome.error->to_json());
    step.events.push_back(failed_event(call->task, end.status, *outcome.error));
  }
  step.tasks.push_back(final_record(*call, end));
  step.usage = {.call_time = outcome.took, .bytes_in = call->task.input.size(), .bytes_out = end.output.size()};
  step.change = [this, now, had_worker = outcome.had_worker](store::SessionHead& head) {
    ++head.call_count;
    if (had_worker) head.last_call_at = now;
    touch();
    head.expires_at = expires_at();
  };
  std::optional<Error> failure;
  try {
    co_await commit(std::move(step));
  } catch (...) {
    failure = to_error(std::current_exception());
  }
  if (failure) {
    // The worker is ahead of the store now, so it cannot go on with this session.
    kept_->session().state().discard();
    around_.log.error("a call could not be made durable", {{"task", call->task.id}, {"error", failure->message()}});
    end = {.status = TaskStatus::failed, .error = to_text(failure->to_json()), .time = now};
    serving_.abandon(*failure);
    owe(*call, end, *failure);
  } else {
    forget_key(*call);
  }
  if (!fenced_ && ((outcome.ends_session && !failure) || call->ends_session)) {
    ending_ = Ending{.reason = outcome.ends_session ? "the app ended it" : "it had one call", .actor = "app"};
  }
  count(end, failure ? failure : outcome.error);
  around_.on_final(*call);
  call->finish(std::move(end));
  if (serving_.lost_cause()) lose_worker();
}

// Ends a call that was accepted but never ran.
Async<void> Actor::drop(std::shared_ptr<LiveCall> call, Error why) {
  CallEnd end{.status = why.code() == ErrorCode::cancelled ? TaskStatus::cancelled : TaskStatus::failed,
              .error = to_text(why.to_json()),
              .time = around_.serving.clock.now()};
  session::Step step{.events = {failed_event(call->task, end.status, why)}, .tasks = {final_record(*call, end)}};
  step.change = [this](store::SessionHead& head) {
    ++head.call_count;
    touch();
    head.expires_at = expires_at();
  };
  if (co_await commit_or_log(std::move(step), "a cancelled call could not be made durable")) {
    forget_key(*call);
  } else {
    owe(*call, end, why);
  }
  count(end, why);
  around_.on_final(*call);
  call->finish(std::move(end));
}

void Actor::count(const CallEnd& end, const std::optional<Error>& error) {
  if (end.status == TaskStatus::completed) {
    ++counts_.calls_completed;
  } else if (end.status == TaskStatus::cancelled) {
    ++counts_.calls_cancelled;
  } else {
    ++counts_.calls_failed[error->code()];
  }
}

// A call that the store still has as open is settled with the next commit, and until then found by its key.
void Actor::owe(const LiveCall& call, const CallEnd& end, const Error& why) {
  if (!call.is_stored) return;
  owed_.push_back(final_record(call, end));
  session::NewEvent event = failed_event(call.task, end.status, why);
  event.time = end.time;
  kept_->journal().append(std::move(event));
}

bool Actor::has_nothing_to_commit(const session::Step& step) const {
  return step.events.empty() && !step.closing && kept_->journal().waiting() == 0 && owed_.empty() &&
         !serving_.has_resource_news();
}

Async<void> Actor::take_turn_to_write(std::vector<store::StateChange> changes, std::string actor,
                                      std::optional<std::uint64_t> expected, std::shared_ptr<Completion<bool>> done) {
  try {
    co_await write_state(std::move(changes), std::move(actor), expected);
    done->set(true);
  } catch (...) {
    done->fail(std::current_exception());
  }
}

Async<void> Actor::take_turn_to_warm_up(Milliseconds timeout, std::shared_ptr<Completion<bool>> ready) {
  session::Step step{.change = [this](store::SessionHead& head) {
    touch();
    head.expires_at = expires_at();
  }};
  bool opens = false;
  std::optional<Error> failure;
  try {
    check_open();
    opens = !serving_.has_worker();
    co_await serving_.warm_up(timeout);
  } catch (const Error& error) {
    failure = error;
  }
  if (failure && opens) note_failed_start(*failure);
  if (!has_nothing_to_commit(step)) {
    co_await commit_or_log(std::move(step), "how a worker was opened could not be written down");
  }
  if (failure) {
    ready->fail(std::make_exception_ptr(Error(*failure)));
  } else {
    ready->set(true);
  }
  if (serving_.lost_cause()) lose_worker();
}

Async<void> Actor::write_state(std::vector<store::StateChange> changes, std::string actor,
                               std::optional<std::uint64_t> expected) {
  session::State& state = kept_->session().state();
  std::exception_ptr failure;
  std::vector<store::StateChange> written;
  try {
    for (const auto& [key, value] : changes) {
      if (value) {
        state.set_text(key, *value);
      } else {
        state.remove(key);
      }
    }
    written = state.changes();
    session::Step step{.state = written, .expected_version = expected};
    step.events.push_back({.type = "state.changed",
                           .actor = std::move(actor),
                           .data = fmt::format("{{\"state\":{}}}", session::state_hashes(written))});
    step.change = [this](store::SessionHead& head) {
      touch();
      head.expires_at = expires_at();
    };
    if (written.empty()) {
      session::check_version(expected, record().version);
    } else {
      co_await commit(std::move(step));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    state.discard();
    std::rethrow_exception(failure);
  }
  state.accept();
  serving_.note_outside_changes(written);
}

// What the worker said, at once, also while a call runs.
Async<void> Actor::write_down(std::shared_ptr<Actor> self) {
  while (serving_.wants_commit() && co_await commit_or_log({}, "what a worker said could not be written down")) {
  }
  writing_down_ = false;
}

// Takes along what an earlier commit could not make durable.
Async<void> Actor::commit(session::Step step) {
  ++committing_;
  const AsyncMutex::Turn turn = co_await committing_turn_.take();
  const std::vector<store::TaskRecord> owed = std::exchange(owed_, {});
  if (!owed.empty()) {
    step.tasks.insert(step.tasks.begin(), owed.begin(), owed.end());
    step.change = [count = owed.size(), change = std::move(step.change)](store::SessionHead& head) {
      head.call_count += count;
      if (change) change(head);
    };
  }
  std::exception_ptr failure;
  try {
    if (fenced_) throw Error(*fenced_);
    co_await serving_.commit(std::move(step));
  } catch (...) {
    failure = std::current_exception();
  }
  --committing_;
  if (failure) {
    owed_.insert(owed_.end(), owed.begin(), owed.end());
    const Error error = to_error(failure);
    if (error.code() == ErrorCode::fenced) lose_session(error);
    std::rethrow_exception(failure);
  }
}

Async<bool> Actor::commit_or_log(session::Step step, std::string_view what) {
  try {
    co_await commit(std::move(step));
    co_return true;
  } catch (const Error& error) {
    around_.log.error(what, {{"session", record().id}, {"error", error.message()}});
  }
  co_return false;
}

}  // namespace sojourn::runtime
