#include "sojourn/worker/frames_to_worker.hpp"

#include <algorithm>
#include <utility>

namespace sojourn::worker {

namespace {

constexpr auto limit = frame_bytes_to_worker;

// Appends `key` and its JSON text to the object that `out` is becoming.
void append_member(std::string& out, std::string_view key, std::string_view json) {
  out += out.empty() ? '{' : ',';
  append_json_string(out, key);
  out += ':';
  out += json;
}

std::string closed_object(std::string members) {
  return members.empty() ? "{}" : std::move(members) + '}';
}

}  // namespace

std::string hello_frame() {
  return FrameBuilder("hello").integer("protocol", protocol_version).text("server", "sojourn/0.1.0").finish(limit);
}

std::string open_frame(const session::Opening& opening, std::string_view app_version) {
  std::string state;
  for (const auto& [key, value] : opening.state) append_member(state, key, to_text(value));
  return FrameBuilder("open")
      .text("session", opening.session_id)
      .value("context", opening.context)
      .value("setup", opening.setup)
      .raw("state", closed_object(std::move(state)))
      .flag("restored", opening.restored)
      .text("folder", opening.folder)
      .text("app_version", app_version)
      .finish(limit);
}

std::string call_frame(const session::CallRequest& request, Instant now) {
  std::string set;
  JsonArray deleted;
  for (const store::StateChange& change : request.outside_changes) {
    if (change.value) {
      append_member(set, change.key, *change.value);
    } else {
      deleted.emplace_back(change.key);
    }
  }
  const auto left = std::chrono::duration_cast<Milliseconds>(request.deadline - now);
  return FrameBuilder("call")
      .text("request_id", request.task_id)
      .text("function", request.function)
      .value("input", request.input)
      .raw("state_set", closed_object(std::move(set)))
      .value("state_deleted", Json(std::move(deleted)))
      .integer("deadline_ms", std::max<std::int64_t>(left.count(), 0))
      .finish(limit);
}

std::string saved_frame(std::string_view request_id, const std::optional<Error>& failed) {
  FrameBuilder frame("saved");
  frame.text("request_id", request_id);
  if (failed) frame.value("error", failed->to_json());
  return frame.finish(limit);
}

std::string noted_frame(std::int64_t n, const std::optional<Error>& failed) {
  FrameBuilder frame("noted");
  frame.integer("n", n);
  if (failed) frame.value("error", failed->to_json());
  return frame.finish(limit);
}

std::string app_result_frame(std::string_view call_id, const Json& output) {
  return FrameBuilder("app_result").text("call_id", call_id).value("output", output).finish(limit);
}

std::string app_result_frame(std::string_view call_id, const Error& error) {
  return FrameBuilder("app_result").text("call_id", call_id).value("error", error.to_json()).finish(limit);
}

std::string cancel_frame(std::string_view request_id) {
  return FrameBuilder("cancel").text("request_id", request_id).finish(limit);
}

std::string close_frame(session::CloseReason reason) {
  return FrameBuilder("close").text("reason", session::to_string(reason)).finish(limit);
}

std::string pong_frame(const Frame& ping) {
  const Json* number = ping.find("n");
  return FrameBuilder("pong").value("n", number == nullptr ? Json(0) : *number).finish(limit);
}

std::string violation_frame(const Error& violation) {
  return FrameBuilder("error")
      .text("code", info(ErrorCode::protocol_error).wire)
      .text("message", to_valid_utf8(violation.message()))
      .flag("retryable", false)
      .finish(limit);
}

session::Opening read_opening(Frame& frame) {
  session::Opening opening;
  opening.session_id = frame.text("session");
  opening.context = frame.take_object("context");
  opening.setup = frame.find("setup") == nullptr ? Json() : frame.take("setup");
  JsonObject state = frame.take_object("state");
  for (auto& [key, value] : state) opening.state.emplace_back(key, std::move(value));
  opening.restored = frame.flag("restored");
  opening.folder = frame.text_or("folder", "");
  return opening;
}

session::CallRequest read_call(Frame& frame, Instant now) {
  session::CallRequest request;
  request.task_id = frame.text("request_id");
  request.function = frame.text("function");
  request.input = frame.take("input");
  for (const auto& [key, value] : frame.take_object("state_set")) {
    request.outside_changes.push_back({key, to_text(value)});
  }
  for (const Json& key : frame.take_array("state_deleted")) {
    if (!key.is_string()) throw Error(ErrorCode::protocol_error, "\"state_deleted\" holds more than keys");
    request.outside_changes.push_back({std::string(key.get_string()), std::nullopt});
  }
  request.deadline = now + Milliseconds(frame.integer("deadline_ms"));
  return request;
}

session::CloseReason read_close(const Frame& frame) {
  const std::string reason = frame.text_or("reason", "");
  for (const auto known : {session::CloseReason::ended, session::CloseReason::expired, session::CloseReason::lost,
                           session::CloseReason::server_stopping, session::CloseReason::sleeping}) {
    if (reason == session::to_string(known)) return known;
  }
  return session::CloseReason::ended;
}

std::optional<Error> read_error(Frame& frame) {
  if (frame.find("error") == nullptr) return std::nullopt;
  return Error::from_json(frame.take_object("error"));
}

}  // namespace sojourn::worker
