#include "sojourn/worker/remote_scope.hpp"

#include <fmt/format.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/worker/frames_to_worker.hpp"

namespace sojourn::worker {

namespace {

// What may wait for a server that reads slowly; past it the whole program waits, as with a full pipe.
constexpr std::size_t most_waiting = 16 * limits::mebibyte;

}  // namespace

std::exception_ptr disconnected() {
  return std::make_exception_ptr(Error(ErrorCode::unavailable, "the server closed the connection"));
}

void RemoteScope::send(std::string frame) {
  stream_.send(std::move(frame));
  if (stream_.waiting() > most_waiting) stream_.flush();
}

void RemoteScope::record(std::string type, JsonObject data) {
  if (type.empty()) throw Error(ErrorCode::invalid_request, "an event needs a type");
  if (to_text(data).size() > limits::event_bytes) {
    throw Error(ErrorCode::too_large, fmt::format("an event's data has at most {} bytes", limits::event_bytes));
  }
  if (events_.size() >= limits::events_per_commit) {
    throw Error(ErrorCode::too_large, fmt::format("at most {} events go into one commit", limits::events_per_commit));
  }
  events_.emplace_back(std::move(type), std::move(data));
}

Async<void> RemoteScope::checkpoint() {
  if (saved_) throw Error(ErrorCode::conflict, "a checkpoint of this call is being saved already");
  send(checkpoint_frame(request_.task_id, changes()));
  events_.clear();
  const auto saved = saved_ = std::make_shared<Completion<bool>>();
  co_await saved->wait();
}

Async<Json> RemoteScope::call_app(std::string app, std::string function, Json input) {
  const std::string id = std::to_string(++last_call_id_);
  send(app_call_frame(request_.task_id, id, app, function, input));
  const auto outcome = std::make_shared<Completion<Json>>();
  app_calls_.emplace(id, outcome);
  co_return co_await outcome->wait();
}

Async<void> RemoteScope::cancel_wait() {
  while (!cancel_requested_) co_await cancelled_.wait();
}

void RemoteScope::cancel() {
  cancel_requested_ = true;
  cancelled_.notify_all();
}

void RemoteScope::take_saved(Frame& frame) {
  const auto saved = std::exchange(saved_, nullptr);
  if (!saved) throw Error(ErrorCode::protocol_error, "\"saved\" for a checkpoint that was not asked for");
  if (const auto error = read_error(frame)) {
    saved->fail(std::make_exception_ptr(*error));
  } else {
    session_.state().accept();
    saved->set(true);
  }
}

void RemoteScope::take_app_result(Frame& frame) {
  const auto call = app_calls_.extract(frame.text("call_id"));
  if (!call) throw Error(ErrorCode::protocol_error, "\"app_result\" for a call that was not made");
  if (const auto error = read_error(frame)) {
    call.mapped()->fail(std::make_exception_ptr(*error));
  } else {
    call.mapped()->set(frame.take("output"));
  }
}

void RemoteScope::disconnect() {
  cancel();
  if (const auto saved = std::exchange(saved_, nullptr)) saved->fail(disconnected());
  for (const auto& [id, outcome] : std::exchange(app_calls_, {})) outcome->fail(disconnected());
}

std::string RemoteScope::result(const Json& output) const {
  return result_frame(request_.task_id, output, changes(), ends_session_);
}

}  // namespace sojourn::worker
