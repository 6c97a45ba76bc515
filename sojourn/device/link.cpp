#include "sojourn/device/link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace sojourn::device {

namespace {

constexpr Milliseconds first_interrupt_wait(20);
constexpr std::string_view leave_raw_mode = "\x02";  // for whoever comes next, a person perhaps
constexpr std::string_view interrupt_twice = "\x03\x03";

Error timed_out() {
  return Error(ErrorCode::call_timeout, "the board had not finished at its deadline and was interrupted");
}

Error board_lost(std::string_view what, bool begun) {
  return Error(ErrorCode::worker_lost, fmt::format("{}: what was defined on it is gone", what), {{"begun", begun}});
}

Error unreachable(std::string_view why) {
  return Error(ErrorCode::connection_failed, std::string(why));
}

Error closed() {
  return Error(ErrorCode::unavailable, "the link to the board is closed");
}

void deliver(Script& script, RunResult& result, std::size_t limit, std::string_view text) {
  if (script.on_output) return script.on_output(text);
  const std::size_t room = limit - std::min(limit, result.output.size());
  result.output_cut = result.output_cut || text.size() > room;
  result.output += text.substr(0, room);
}

}  // namespace

bool has_not_begun(const Error& error) {
  const Json* begun = error.details().if_contains("begun");
  return error.code() == ErrorCode::worker_lost && begun != nullptr && *begun == Json(false);
}

std::string_view to_string(ConnectionState state) {
  switch (state) {
    case ConnectionState::disconnected:
      return "disconnected";
    case ConnectionState::connecting:
      return "connecting";
    case ConnectionState::connected:
      return "connected";
    case ConnectionState::executing:
      return "executing";
    case ConnectionState::interrupting:
      return "interrupting";
    case ConnectionState::reconnecting:
      return "reconnecting";
    case ConnectionState::lost:
      break;
  }
  return "lost";
}

Link::Link(Executor executor, Clock& clock, Random& random, std::unique_ptr<Transport> transport, LinkOptions options)
    : executor_(std::move(executor)),
      clock_(clock),
      random_(random),
      transport_(std::move(transport)),
      options_(std::move(options)),
      repl_(options_.repl),
      serving_(executor_),
      reading_(executor_) {}

Link::~Link() {
  assert(serving_.size() == 0 && reading_.size() == 0);
}

Async<void> Link::open(Instant deadline) {
  co_await ask(Wish::open, {}, deadline);
}

Async<RunResult> Link::run(Script script, Instant deadline) {
  return ask(Wish::run, std::move(script), deadline);
}

Async<void> Link::soft_reset(Instant deadline) {
  co_await ask(Wish::soft_reset, {}, deadline);
}

Async<void> Link::restart(Instant deadline) {
  co_await ask(Wish::restart, {}, deadline);
}

LinkStatistics Link::statistics() const {
  LinkStatistics statistics = statistics_;
  statistics.damaged = repl_.damaged();
  statistics.resets = boot_ == 0 ? 0 : boot_ - 1;
  return statistics;
}

LinkStatistics& LinkStatistics::operator+=(const LinkStatistics& more) {
  runs += more.runs;
  timeouts += more.timeouts;
  reconnections += more.reconnections;
  restarts += more.restarts;
  damaged += more.damaged;
  resyncs += more.resyncs;
  resets += more.resets;
  bytes_sent += more.bytes_sent;
  bytes_received += more.bytes_received;
  return *this;
}

ProtocolCapabilities Link::protocol_capabilities() const {
  ProtocolCapabilities found{
      .raw_paste = repl_.has_paste(), .paste_window = repl_.paste_window(), .burst = repl_.burst()};
  if (const auto cooked = repl_.writes_cr_lf()) found.line_ends = *cooked ? LineEnds::cr_lf : LineEnds::lf;
  return found;
}

Async<RunResult> Link::ask(Wish wish, Script script, Instant deadline) {
  if (closing_) throw closed();
  if (queue_.size() >= options_.queue) {
    throw Error(ErrorCode::queue_full, fmt::format("{} calls wait for this board already", options_.queue));
  }
  const auto operation = std::make_shared<Operation>(wish, std::move(script), deadline);
  // The board can work while the host gets ready to wait for it.
  const bool ready = current_ == nullptr && queue_.empty() && known_ && repl_.at_prompt();
  if (wish == Wish::run && ready && clock_.instant() < deadline) send(*operation);
  queue_.push_back(operation);
  changed_.notify_all();
  if (serving_.size() == 0) serving_.spawn(serve());

  // Whoever goes away takes the callback along, for it is about things of its own.
  struct Departure {
    Link& link;
    Operation& operation;
    ~Departure() {
      operation.abandoned = true;
      operation.script.on_output = nullptr;
      if (!operation.done.is_set()) link.changed_.notify_all();
    }
  } const departure{*this, *operation};
  wake_by(deadline);
  co_return co_await operation->done.wait();
}

void Link::wake_by(Instant when) {
  if (alarm_at_ <= when) return;
  alarm_at_ = when;
  alarm_ = clock_.set_alarm(when, executor_, [this] {
    alarm_at_ = Instant::max();
    expire();
    changed_.notify_all();
  });
}

// Sends those away whose deadline has come.
void Link::expire() {
  Instant next = Instant::max();
  const auto look_at = [&](Operation& operation) {
    if (operation.done.is_set()) return;
    if (clock_.instant() < operation.deadline) {
      next = std::min(next, operation.deadline);
      return;
    }
    ++statistics_.timeouts;
    operation.abandoned = true;
    operation.done.fail(std::make_exception_ptr(timed_out()));
  };
  if (current_) look_at(*current_);
  for (const auto& operation : queue_) look_at(*operation);
  wake_by(next);
}

// Takes what waits, one after the other. Nothing that happens to one of them ends it.
Async<void> Link::serve() {
  while (!closing_) {
    if (queue_.empty()) {
      co_await changed_.wait();
      continue;
    }
    const auto operation = queue_.front();
    queue_.pop_front();
    if (operation->abandoned && !operation->sent) continue;
    current_ = operation;
    try {
      operation->done.set(co_await perform(*operation));
    } catch (...) {
      operation->done.fail(std::current_exception());
    }
    current_.reset();
  }
  for (const auto& operation : queue_) operation->done.fail(std::make_exception_ptr(closed()));
  queue_.clear();
}

Async<RunResult> Link::perform(Operation& operation) {
  if (operation.wish == Wish::restart) {
    if (!can_restart()) throw unreachable("this board cannot be restarted by force");
    co_await restart_by_force();
    co_return RunResult{};
  }
  if (!operation.sent) co_await make_ready(operation);
  if (operation.wish == Wish::run) co_return co_await run_script(operation);
  if (operation.wish == Wish::soft_reset) co_await reset_softly(operation);
  co_return RunResult{};
}

void Link::send(Operation& operation) {
  const Script& script = operation.script;
  if (script.call) {
    repl_.run(*script.call, clock_.instant());
  } else {
    repl_.run(script.code, script.kind, clock_.instant());
  }
  operation.sent = clock_.instant();
  state_ = ConnectionState::executing;
  ++statistics_.runs;
  flush();
}

Async<RunResult> Link::run_script(Operation& operation) {
  if (!operation.sent) send(operation);
  const Instant start = *operation.sent;
  RunResult result;
  for (;;) {
    std::optional<RawRepl::Event> event = co_await next_event(&operation, Instant::max());
    if (!event && !wired_) throw board_lost("the wire to the board was lost", true);
    if (!event) {
      co_await settle();
      throw closing_ ? closed() : timed_out();
    }
    if (const auto* output = std::get_if<RawRepl::Output>(&*event)) {
      deliver(operation.script, result, options_.output_bytes, output->text);
    } else if (auto* finished = std::get_if<RawRepl::Finished>(&*event)) {
      state_ = ConnectionState::connected;
      result.value = std::move(finished->value);
      result.traceback = std::move(finished->error);
      result.begun = finished->begun;
      statistics_.run_time.add(std::chrono::duration_cast<Microseconds>(clock_.instant() - start));
      co_return result;
    } else if (std::holds_alternative<RawRepl::Undelivered>(*event)) {
      state_ = ConnectionState::connected;
      throw unreachable("the wire damaged all that was sent; the code did not run");
    } else if (std::holds_alternative<RawRepl::Garbled>(*event)) {
      state_ = ConnectionState::connected;
      throw Error(ErrorCode::protocol_error, "the board's answer was damaged on the wire; the code may have run");
    } else {
      state_ = ConnectionState::reconnecting;
      throw board_lost("the board started anew", std::get<RawRepl::Rebooted>(*event).begun);
    }
  }
}

Async<void> Link::reset_softly(const Operation& operation) {
  repl_.soft_reset(clock_.instant());
  while (repl_.next_tick()) {
    if (!co_await next_event(&operation, Instant::max())) break;
  }
  co_await make_ready(operation);
}

// Returns with the board at its prompt.
Async<void> Link::make_ready(const Operation& operation) {
  if (!wired_) co_await open_wire(operation);
  if (!(known_ && repl_.at_prompt()) && !co_await seek_prompt(&operation)) {
    if (wired_ && !operation.abandoned && !closing_ && can_restart()) co_await restart_by_force();
    throw_if_gone(operation);
    if (!repl_.at_prompt()) {
      state_ = ConnectionState::lost;
      throw unreachable("the board does not show its prompt");
    }
  }
  state_ = ConnectionState::connected;
}

Async<void> Link::open_wire(const Operation& operation) {
  state_ = boot_ == 0 ? ConnectionState::connecting : ConnectionState::reconnecting;
  if (boot_ > 0) ++statistics_.reconnections;
  co_await stop_reading();
  Milliseconds wait = options_.reconnection.first;
  for (int attempt = 1;; ++attempt) {
    std::optional<Error> error;
    try {
      co_await transport_->open(in(options_.prompt_timeout));
      break;
    } catch (const Error& refusal) {
      error = refusal;
    }
    if (attempt >= options_.reconnection.attempts || !error->retryable()) {
      state_ = ConnectionState::lost;
      throw *error;
    }
    std::uint8_t chance = 0;
    random_.fill({&chance, 1});
    const Instant next = in(wait - wait / 2 * chance / 255);
    while (clock_.instant() < next && !operation.abandoned && !closing_) co_await changed_.wait_until(clock_, next);
    throw_if_gone(operation);
    wait = std::min(wait * options_.reconnection.factor, options_.reconnection.longest);
  }
  start_reading();
}

// Whether the board shows its prompt in time.
Async<bool> Link::seek_prompt(const Operation* operation) {
  ++statistics_.resyncs;
  repl_.recover(clock_.instant(), !known_);
  const Instant until = in(options_.prompt_timeout);
  while (!repl_.at_prompt()) {
    const auto event = co_await next_event(operation, until);
    // The guard may not have arrived whole, or the board started anew meanwhile; there is time to begin again.
    if (event && !repl_.at_prompt()) repl_.recover(clock_.instant(), true);
    if (!event) co_return false;
  }
  if (!std::exchange(known_, true)) ++boot_;
  co_return true;
}

// Interrupts what runs for somebody who has gone.
Async<void> Link::settle() {
  state_ = ConnectionState::interrupting;
  const Instant until = in(options_.grace);
  for (Milliseconds wait = first_interrupt_wait; clock_.instant() < until && known_ && !closing_; wait *= 2) {
    repl_.interrupt(clock_.instant());
    const Instant next = std::min(until, in(wait));
    // To the last event, which would be taken for the next run's.
    while (co_await next_event(nullptr, repl_.at_prompt() ? Instant::min() : next)) {
    }
    if (repl_.at_prompt()) {
      state_ = ConnectionState::connected;
      co_return;
    }
  }
  if (known_ && !closing_ && can_restart()) co_await restart_by_force();
}

bool Link::can_restart() const {
  return options_.restart != nullptr || transport_->can_restart();
}

Async<void> Link::restart_by_force() {
  state_ = ConnectionState::interrupting;
  ++statistics_.restarts;
  known_ = false;
  const Instant deadline = in(options_.prompt_timeout);
  if (options_.restart) {
    co_await options_.restart(deadline);
  } else {
    co_await transport_->restart(deadline);
  }
  if (!wired_ || !options_.restart) {
    co_await stop_reading();
    co_await transport_->open(deadline);
    start_reading();
  }
  state_ = co_await seek_prompt(nullptr) ? ConnectionState::connected : ConnectionState::lost;
}

// The next thing that happens; nothing at `until`, when the operation is abandoned, the wire lost, or the link
// closes.
Async<std::optional<RawRepl::Event>> Link::next_event(const Operation* operation, Instant until) {
  for (;;) {
    flush();
    if (auto event = repl_.take_event()) {
      if (std::holds_alternative<RawRepl::Rebooted>(*event)) known_ = false;
      co_return event;
    }
    if (closing_ || !wired_ || (operation != nullptr && operation->abandoned)) co_return std::nullopt;
    if (clock_.instant() >= until) co_return std::nullopt;
    wake_ = std::min(until, repl_.next_tick().value_or(until));
    wake_by(wake_);
    co_await changed_.wait();
    repl_.tick(clock_.instant());
  }
}

void Link::throw_if_gone(const Operation& operation) const {
  if (closing_) throw closed();
  if (operation.abandoned) throw timed_out();
}

void Link::flush() {
  if (const std::string bytes = repl_.take_to_send(); !bytes.empty() && wired_) {
    statistics_.bytes_sent += bytes.size();
    transport_->send(bytes);
  }
}

void Link::start_reading() {
  wired_ = true;
  known_ = false;
  reading_.spawn(read());
}

Async<void> Link::stop_reading() {
  transport_->close();
  co_await reading_.join();
}

Async<void> Link::read() {
  try {
    for (;;) {
      const std::string bytes = co_await transport_->receive();
      statistics_.bytes_received += bytes.size();
      repl_.receive(bytes, clock_.instant());
      flush();
      // A board may say its answer byte by byte; only what matters wakes whoever waits.
      if (repl_.has_event() || repl_.next_tick().value_or(Instant::max()) < wake_) changed_.notify_all();
    }
  } catch (const Error&) {
    // That the wire is gone is all that matters; what depends on it says so.
  }
  wired_ = false;
  known_ = false;
  state_ = ConnectionState::disconnected;
  changed_.notify_all();
}

Async<void> Link::close() {
  if (!closing_ && wired_) transport_->send(repl_.at_prompt() ? leave_raw_mode : interrupt_twice);
  closing_ = true;
  alarm_.reset();
  changed_.notify_all();
  co_await serving_.join();
  co_await stop_reading();
}

}  // namespace sojourn::device
