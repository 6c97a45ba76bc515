#include "sojourn/worker/process_worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <cassert>
#include <utility>

#include "sojourn/base/limits.hpp"
#include "sojourn/worker/frames_to_server.hpp"
#include "sojourn/worker/frames_to_worker.hpp"
#include "sojourn/worker/lines.hpp"

namespace sojourn::worker {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// Frames of a call that were read and wait for it; past that the worker's socket is not read, so that it waits.
constexpr std::size_t inbox_limit = 256;
constexpr std::size_t inbox_bytes_limit = 16 * limits::mebibyte;

// Calls of other apps that one call may have open.
constexpr std::size_t app_calls_limit = 64;

// Notes of resources that are taken without waiting until they are recorded; each is an event that waits meanwhile.
constexpr std::size_t notes_limit = 256;

// Answers that wait for the worker to read them; it may have asked for all at once, but not without end.
constexpr std::size_t unread_limit = frame_bytes_to_worker;

// Between the end of a connection and the report of how its process ended, and the other way round.
constexpr auto exit_report_wait = 1s;

// What a worker gets to end after TERM, and to exit after `closed`.
constexpr Instant::duration term_grace = 2s;

// How long the last lines of a dead worker are waited for.
constexpr auto last_lines_wait = 500ms;

// The kernel needs no more to end killed processes, unless they hang in a driver.
constexpr auto kill_wait = 5s;

// Between two looks at a session's folder, or how many times what a look took.
constexpr Instant::duration folder_interval = 1s;
constexpr int folder_share = 20;

Error worker_lost(std::string_view how, JsonObject details) {
  return Error(ErrorCode::worker_lost, fmt::format("the worker {}", how), std::move(details));
}

bool is_code(const std::exception_ptr& error, ErrorCode code) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return known.code() == code;
  } catch (...) {
    return false;
  }
}

}  // namespace

ProcessWorker::ProcessWorker(Executor executor, Clock& clock, const Log& log, std::shared_ptr<Process> process,
                             WorkerEnds ends, session::WorkerEvents* events)
    : clock_(clock),
      log_(log),
      process_(std::move(process)),
      events_(events),
      group_(std::move(executor)),
      stream_(std::move(ends.socket), group_, frame_bytes_to_server),
      readers_(3) {
  group_.spawn(read_frames());
  group_.spawn(read_lines("stdout", std::move(ends.output)));
  group_.spawn(read_lines("stderr", std::move(ends.errors)));
  group_.spawn(watch_exit());
}

ProcessWorker::~ProcessWorker() {
  assert(phase_ == Phase::closed);
}

JsonObject ProcessWorker::describe() const {
  return {{"pid", process_->pid()}, {"sdk", sdk_}, {"start", start_}};
}

Async<void> ProcessWorker::read_frames() {
  try {
    while (auto frame = co_await stream_.read()) co_await take(std::move(*frame));
  } catch (const Error& wrong) {
    if (wrong.code() == ErrorCode::worker_lost) {
      lose(wrong);
    } else {
      violate(wrong);
    }
  }
  --readers_;
  changed_.notify_all();
  if (lost_ || phase_ == Phase::closing) co_return;
  const auto status = co_await process_->exited().wait_until(clock_, clock_.instant() + exit_report_wait);
  if (phase_ == Phase::closing) co_return;
  lose(status ? worker_lost(status->describe(), status->details()) : worker_lost("closed its connection", {}));
}

// A process that its daemons outlive may leave its connection open, so its end alone must do.
Async<void> ProcessWorker::watch_exit() {
  const ExitStatus status = co_await process_->exited().wait();
  changed_.notify_all();
  const Instant deadline = clock_.instant() + exit_report_wait;
  while (!lost_ && co_await changed_.wait_until(clock_, deadline)) {
  }
  lose(worker_lost(status.describe(), status.details()));
}

void ProcessWorker::watch_folder(Isolation& isolation, std::string folder, std::uint64_t most) {
  group_.spawn(look_at_folder(isolation, std::move(folder), most));
}

Async<void> ProcessWorker::look_at_folder(Isolation& isolation, std::string folder, std::uint64_t most) {
  while (!lost_) {
    const Isolation::FolderLook look = co_await isolation.look_at(folder, most);
    if (look.bytes > most) {
      lose(worker_lost(fmt::format("was ended, since its session's folder holds more than {} MiB (folder_mb)",
                                   most / limits::mebibyte),
                       {{"folder_mb", most / limits::mebibyte}}));
    } else {
      co_await sleep_until(clock_, clock_.instant() + std::max(folder_interval, folder_share * look.took));
    }
  }
}

Async<void> ProcessWorker::read_lines(std::string stream, Descriptor pipe) {
  co_await each_line(std::move(pipe), [&](std::string line, bool cut) { take_line(stream, std::move(line), cut); });
  --readers_;
  changed_.notify_all();
}

void ProcessWorker::take_line(std::string_view stream, std::string line, bool cut) {
  if (stream == "stderr") last_errors_.add(line);
  events_->log(LogLevel::info, stream, line, cut ? JsonObject{{"cut", true}} : JsonObject());
}

Async<void> ProcessWorker::take(Frame frame) {
  const std::string& type = frame.type();
  if (type == "ping") {
    reply(pong_frame(frame));
  } else if (type == "pong") {
    // None was asked for; it does no harm.
  } else if (type == "log" && !is_of_running_call(frame)) {
    take_log(frame);
  } else if (type == "resource") {
    co_await take_resource(std::move(frame));
  } else if (type == "closed" && phase_ == Phase::closing) {
    closed_.emplace(std::move(frame));
    changed_.notify_all();
  } else if (phase_ != Phase::closing && phase_ != Phase::failed && !lost_) {
    check_belongs_to_call(frame);
    inbox_bytes_ += frame.bytes();
    inbox_.push_back(std::move(frame));
    changed_.notify_all();
    while (is_inbox_full() && !lost_) co_await changed_.wait();
  }
}

bool ProcessWorker::is_inbox_full() const {
  return inbox_.size() >= inbox_limit || inbox_bytes_ >= inbox_bytes_limit;
}

bool ProcessWorker::is_of_running_call(const Frame& frame) const {
  return phase_ == Phase::calling && !answered_ && frame.text_or("request_id", "") == request_id_;
}

void ProcessWorker::take_log(Frame& frame) {
  events_->log(read_level(frame), "app", frame.text("message"), frame.take_object("fields"));
}

// When it is dead the server cleans up for it only what it could have itself.
void ProcessWorker::confine(Json& cleanup) const {
  if (!cleanup.is_object()) return;
  if (process_->lease() != nullptr) cleanup.get_object()["user"] = process_->lease()->user();
  if (is_sandboxed_) cleanup.get_object()["sandbox"] = true;
}

Async<void> ProcessWorker::take_resource(Frame frame) {
  const std::string op = frame.text("op");
  if (op == "add") {
    session::ResourceNote note = read_resource(frame);
    is_empty_handed_ = false;
    confine(note.cleanup);
    const bool wait = ++notes_ >= notes_limit;
    const auto recorded = std::make_shared<Completion<bool>>();  // shared with the session and who waits below
    if (frame.find("n") != nullptr) {
      const std::int64_t n = frame.integer("n");
      note.recorded = recorded;
      group_.spawn(tell_noted(n, recorded));
    }
    if (wait) note.recorded = recorded;
    events_->resource_added(std::move(note));
    if (!wait) co_return;
    notes_ = 0;
    try {
      co_await recorded->wait();
    } catch (const Error& failed) {
      throw worker_lost("was ended, since its resources could not be recorded: " + failed.message(), {});
    }
  } else if (op == "release") {
    events_->resource_released(frame.text("id"));
  } else {
    throw Error(ErrorCode::protocol_error, "a frame of type \"resource\" needs \"op\": \"add\" or \"release\"");
  }
}

Async<void> ProcessWorker::tell_noted(std::int64_t n, std::shared_ptr<Completion<bool>> recorded) {
  std::optional<Error> failed;
  try {
    co_await recorded->wait();
  } catch (const Error& error) {
    failed = error;
  }
  reply(noted_frame(n, failed));
}

void ProcessWorker::check_belongs_to_call(const Frame& frame) {
  const std::string& type = frame.type();
  const auto is = [&type](std::initializer_list<std::string_view> types) {
    return std::ranges::find(types, type) != types.end();
  };
  if (!is({"hello", "ready", "error", "progress", "log", "checkpoint", "app_call", "result", "closed"})) {
    throw Error(ErrorCode::protocol_error, fmt::format("unknown frame type \"{}\"", to_valid_utf8(type)));
  }
  if ((phase_ == Phase::greeting && is({"hello"})) || (phase_ == Phase::opening && is({"ready", "error"}))) {
    if (!std::exchange(answered_, true)) return;
  }
  if (type == "error" && frame.find("request_id") == nullptr) {
    throw Error(ErrorCode::protocol_error,
                fmt::format("the worker says that the server broke the protocol: {}", frame.text_or("message", "")));
  }
  if (phase_ != Phase::calling || !is({"error", "progress", "log", "checkpoint", "app_call", "result"})) {
    throw Error(ErrorCode::protocol_error, fmt::format("a frame of type \"{}\" that nothing asked for", type));
  }
  if (!is_of_running_call(frame)) {
    throw Error(ErrorCode::protocol_error, fmt::format("a frame of type \"{}\" for a call that does not run", type));
  }
  if (is({"error", "result"})) answered_ = true;
}

// The next frame of the inbox. Throws what the worker was lost by once the inbox is empty.
Async<Frame> ProcessWorker::next() {
  while (inbox_.empty()) {
    if (lost_) throw *lost_;
    co_await changed_.wait();
  }
  Frame frame = std::move(inbox_.front());
  inbox_.pop_front();
  inbox_bytes_ -= frame.bytes();
  changed_.notify_all();
  co_return frame;
}

Async<Frame> ProcessWorker::next(Instant deadline) {
  while (inbox_.empty() && !lost_) {
    if (!co_await changed_.wait_until(clock_, deadline)) {
      throw Error(ErrorCode::worker_start_failed, phase_ == Phase::greeting
                                                      ? "the worker did not say hello in time"
                                                      : "the worker's setup did not end in time");
    }
  }
  co_return co_await next();
}

Async<void> ProcessWorker::greet(Instant deadline) {
  std::exception_ptr failed;
  try {
    stream_.send(hello_frame());
    Frame hello = co_await next(deadline);
    if (const auto version = hello.integer("protocol"); version != protocol_version) {
      throw Error(
          ErrorCode::protocol_error,
          fmt::format("the worker speaks version {} of the protocol, the server {}", version, protocol_version));
    }
    sdk_ = hello.text_or("sdk", "");
    const JsonArray capabilities = hello.take_array("capabilities");
    const auto can = [&](std::string_view what) {
      return std::ranges::find(capabilities, Json(what)) != capabilities.end();
    };
    can_cancel_ = can("cancel");
    can_wait_ = can("spare");
    if (process_->lease() != nullptr && user_of(process_->pid()) != process_->lease()->user()) {
      throw Error(ErrorCode::worker_start_failed, "the worker did not become the user that it was told to be");
    }
    acts_on_end_ = can("on_end");
    phase_ = Phase::waiting;
    tell_lost();
  } catch (...) {
    failed = std::current_exception();
  }
  if (failed) fail_start(failed);
}

Async<void> ProcessWorker::open(const session::Opening& opening, std::string app_version, Instant deadline) {
  assert(phase_ == Phase::waiting);
  std::exception_ptr failed;
  try {
    phase_ = Phase::opening;
    answered_ = false;
    reached_ = !lost_ && stream_.send(open_frame(opening, app_version));
    Frame answer = co_await next(deadline);
    if (answer.type() == "error") throw read_app_error(answer);
    phase_ = Phase::idle;
  } catch (...) {
    failed = std::current_exception();
  }
  if (failed) fail_start(failed);
}

void ProcessWorker::fail_start(std::exception_ptr failed) {
  phase_ = Phase::failed;
  if (is_code(failed, ErrorCode::worker_lost)) {
    const Error lost = to_error(failed);
    throw Error(ErrorCode::worker_start_failed, lost.message() + " before it was ready", lost.details());
  }
  if (is_code(failed, ErrorCode::protocol_error)) violate(to_error(failed));
  std::rethrow_exception(failed);
}

Async<Json> ProcessWorker::call(session::CallScope& scope) {
  if (lost_) throw session::unreached(*lost_);
  assert(phase_ == Phase::idle);
  if (!stream_.send(call_frame(scope.request(), clock_.instant()))) {
    while (!lost_) co_await changed_.wait();  // the reader finds out how
    throw session::unreached(*lost_);
  }
  phase_ = Phase::calling;
  request_id_ = scope.request().task_id;
  answered_ = false;

  TaskGroup app_calls(group_.executor());
  Json output;
  std::exception_ptr failed;
  try {
    output = co_await converse(scope, app_calls);
  } catch (...) {
    failed = std::current_exception();
  }
  // They borrow the scope, so they are waited for even where this coroutine was asked to stop.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  app_calls.cancel();
  co_await app_calls.join();
  if (failed && is_code(failed, ErrorCode::worker_lost)) failed = co_await explain_loss(failed);
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  if (phase_ == Phase::calling) phase_ = Phase::idle;
  end_call(failed);
  co_return output;
}

// The loss with what the worker said last, which often tells why. Its pipes close with its processes.
Async<std::exception_ptr> ProcessWorker::explain_loss(std::exception_ptr loss) {
  const Instant last_lines = clock_.instant() + last_lines_wait;
  while (readers_ > 0 && co_await changed_.wait_until(clock_, last_lines)) {
  }
  if (last_errors_.is_empty()) co_return loss;
  const Error lost = to_error(loss);
  JsonObject details = lost.details();
  details["stderr"] = last_errors();
  co_return std::make_exception_ptr(Error(lost.code(), lost.message(), std::move(details)));
}

// Throws what the call failed with. Where that does not say that the worker is gone, but it is, the session is told.
void ProcessWorker::end_call(std::exception_ptr failed) {
  if (failed && (is_code(failed, ErrorCode::worker_lost) || is_code(failed, ErrorCode::protocol_error))) told_ = true;
  if (failed && is_code(failed, ErrorCode::protocol_error)) violate(to_error(failed));
  // What is left in the inbox would be taken for the next call's.
  if (failed && (!answered_ || !inbox_.empty())) lose(worker_lost("was ended, since its call was given up", {}));
  tell_lost();
  if (failed) std::rethrow_exception(failed);
}

Async<Json> ProcessWorker::converse(session::CallScope& scope, TaskGroup& app_calls) {
  for (;;) {
    Frame frame = co_await next();
    const std::string& type = frame.type();
    if (type == "progress") {
      if (frame.find("output") != nullptr) {
        scope.emit(frame.take("output"));
      } else {
        scope.emit_delta(frame.take("delta"));
      }
    } else if (type == "log") {
      scope.log(read_level(frame), frame.text("message"), frame.take_object("fields"));
    } else if (type == "checkpoint") {
      co_await checkpoint(scope, std::move(frame));
    } else if (type == "app_call") {
      if (app_calls.size() >= app_calls_limit) {
        const Error full(ErrorCode::queue_full,
                         fmt::format("a call may have {} calls of other apps open", app_calls_limit));
        reply(app_result_frame(frame.text("call_id"), full));
      } else {
        app_calls.spawn(answer_app_call(scope, std::move(frame)));
      }
    } else if (type == "error") {
      throw read_app_error(frame);
    } else {
      Json output = frame.take("output");
      apply(scope, frame);
      if (frame.flag("end")) scope.end_session();
      co_return output;
    }
  }
}

// Hands over the state changes and events that a frame brought.
void ProcessWorker::apply(session::CallScope& scope, Frame& frame) {
  ReadChanges changes = read_changes(frame);
  session::State& state = scope.session().state();
  try {
    for (const auto& [key, value] : changes.state) {
      if (value) {
        state.set(key, *value);
      } else {
        state.remove(key);
      }
    }
    for (auto& [type, data] : changes.events) scope.record(std::move(type), std::move(data));
  } catch (const Error& refused) {
    lose(worker_lost("was ended, since what it changed was refused: " + refused.message(), refused.details()));
    throw;
  }
}

Async<void> ProcessWorker::checkpoint(session::CallScope& scope, Frame frame) {
  apply(scope, frame);
  std::optional<Error> failed;
  try {
    co_await scope.checkpoint();
  } catch (const Error& error) {
    failed = error;
  }
  reply(saved_frame(request_id_, failed));
}

Async<void> ProcessWorker::answer_app_call(session::CallScope& scope, Frame frame) {
  std::string call_id;
  try {
    call_id = frame.text("call_id");
    std::string app = frame.text("app");
    std::string function = frame.text_or("function", "");
    const Json output = co_await scope.call_app(std::move(app), std::move(function), frame.take("input"));
    reply(app_result_frame(call_id, output));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::protocol_error && call_id.empty()) {
      violate(error);
    } else {
      reply(app_result_frame(call_id, error));
    }
  }
}

void ProcessWorker::cancel() {
  if (phase_ == Phase::calling && can_cancel_ && !answered_ && !lost_) stream_.send(cancel_frame(request_id_));
}

void ProcessWorker::reply(std::string frame) {
  stream_.send(std::move(frame));
  if (stream_.waiting() <= unread_limit) return;
  violate(Error(ErrorCode::protocol_error,
                fmt::format("the worker left more than {} bytes of answers unread", unread_limit)));
}

// The worker serves no more: its processes are killed, and who waits for it learns why.
void ProcessWorker::lose(Error cause) {
  if (lost_) return;
  lost_ = std::move(cause);
  if (on_loss_ && !told_) on_loss_();
  process_->signal(SIGKILL);
  changed_.notify_all();
  if (phase_ == Phase::idle || phase_ == Phase::waiting) tell_lost();
}

void ProcessWorker::violate(Error violation) {
  if (lost_) return;
  stream_.send(violation_frame(violation));
  if (violation.code() != ErrorCode::protocol_error) {
    violation = Error(ErrorCode::protocol_error, violation.message(), violation.details());
  }
  lose(std::move(violation));
}

void ProcessWorker::tell_lost() {
  if (lost_ && !std::exchange(told_, true)) events_->lost(*lost_);
}

void ProcessWorker::kill(const Error& cause) {
  told_ = true;
  inbox_.clear();
  inbox_bytes_ = 0;
  lose(cause);
}

Async<void> ProcessWorker::close(session::CloseReason reason, Instant deadline) {
  if (phase_ == Phase::closed) co_return;
  assert(phase_ != Phase::calling && phase_ != Phase::closing);
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  const Phase before = std::exchange(phase_, Phase::closing);
  const bool failed = before == Phase::failed;
  const bool cleans_up = before == Phase::idle && !lost_;
  told_ = true;
  if (!lost_ && !failed) stream_.send(close_frame(reason));
  if (!lost_) co_await end_politely(deadline);
  process_->signal(SIGKILL);
  if (!co_await process_->gone().wait_until(clock_, clock_.instant() + kill_wait)) {
    log_.error("a killed worker's processes are still there", {{"pid", process_->pid()}});
  }
  if (process_->exited().is_set()) usage_ = (co_await process_->exited().wait()).usage;
  const Instant last_lines = clock_.instant() + last_lines_wait;
  while (readers_ > 0 && co_await changed_.wait_until(clock_, last_lines)) {
  }
  group_.cancel();
  try {
    co_await group_.join();
  } catch (...) {
    log_.error("reading from a worker failed", to_error(std::current_exception()).to_json());
  }
  stream_.shut_down();
  co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
  report_failures();
  phase_ = Phase::closed;
  if (cleans_up && !closed_) throw worker_lost("ended before it had cleaned up", {});
}

// Waits for the worker to clean up and exit by itself, and asks it once more with TERM when a little time is left.
Async<void> ProcessWorker::end_politely(Instant deadline) {
  const auto left = std::max(deadline - clock_.instant(), Instant::duration(0));
  const Instant by_itself = deadline - std::min(term_grace, left / 4);
  while (!closed_ && !process_->exited().is_set()) {
    if (!co_await changed_.wait_until(clock_, by_itself)) break;
  }
  if (co_await exited_by(std::min(by_itself, clock_.instant() + term_grace))) co_return;
  process_->signal(SIGTERM);
  co_await exited_by(deadline);
}

Async<bool> ProcessWorker::exited_by(Instant deadline) {
  co_return (co_await process_->exited().wait_until(clock_, deadline)).has_value();
}

void ProcessWorker::report_failures() {
  if (!closed_) return;
  try {
    for (const Json& failure : closed_->take_array("failures")) {
      events_->log(LogLevel::error, "app", "a resource could not be cleaned up",
                   {{"code", info(ErrorCode::cleanup_failed).wire}, {"failure", failure}});
    }
  } catch (const Error& violation) {
    log_.warning("a worker's \"closed\" frame cannot be read", {{"reason", violation.message()}});
  }
}

}  // namespace sojourn::worker
