#include "sojourn/worker/frames_to_server.hpp"

namespace sojourn::worker {

namespace {

constexpr auto limit = frame_bytes_to_server;

void append_changes(FrameBuilder& frame, const CallChanges& changes) {
  std::string set;
  JsonArray deleted;
  for (const store::StateChange& change : changes.state) {
    if (!change.value) {
      deleted.emplace_back(change.key);
      continue;
    }
    set += set.empty() ? '{' : ',';
    append_json_string(set, change.key);
    set += ':';
    set += *change.value;
  }
  frame.raw("state_set", set.empty() ? "{}" : set + '}');
  frame.value("state_deleted", Json(std::move(deleted)));
  JsonArray events;
  for (const auto& [type, data] : changes.events) events.push_back(JsonObject{{"type", type}, {"data", data}});
  frame.value("events", Json(std::move(events)));
}

[[noreturn]] void refuse(std::string_view what) {
  throw Error(ErrorCode::protocol_error, std::string(what));
}

}  // namespace

std::string worker_hello_frame(const session::AppInfo& app, bool acts_on_end) {
  JsonArray capabilities{"progress", "checkpoint", "cancel", "resources", "app_call", "spare"};
  if (acts_on_end) capabilities.emplace_back("on_end");
  return FrameBuilder("hello")
      .integer("protocol", protocol_version)
      .text("sdk", "sojourn-cpp/0.1.0")
      .text("app", app.name)
      .value("functions", Json(JsonArray(app.functions.begin(), app.functions.end())))
      .value("capabilities", Json(capabilities))
      .finish(limit);
}

std::string ready_frame() {
  return FrameBuilder("ready").finish(limit);
}

std::string error_frame(std::string_view request_id, const Error& error) {
  FrameBuilder frame("error");
  if (!request_id.empty()) frame.text("request_id", request_id);
  frame.text("code", info(error.code()).wire).text("message", to_valid_utf8(error.message()));
  return frame.flag("retryable", error.retryable()).value("details", error.details()).finish(limit);
}

std::string progress_frame(std::string_view request_id, std::string_view kind, const Json& value) {
  return FrameBuilder("progress").text("request_id", request_id).value(kind, value).finish(limit);
}

std::string log_frame(std::string_view request_id, LogLevel level, std::string_view message,
                      const JsonObject& fields) {
  FrameBuilder frame("log");
  if (!request_id.empty()) frame.text("request_id", request_id);
  return frame.text("level", to_string(level))
      .text("message", to_valid_utf8(message))
      .value("fields", fields)
      .finish(limit);
}

std::string checkpoint_frame(std::string_view request_id, const CallChanges& changes) {
  FrameBuilder frame("checkpoint");
  frame.text("request_id", request_id);
  append_changes(frame, changes);
  return frame.finish(limit);
}

std::string app_call_frame(std::string_view request_id, std::string_view call_id, std::string_view app,
                           std::string_view function, const Json& input) {
  return FrameBuilder("app_call")
      .text("request_id", request_id)
      .text("call_id", call_id)
      .text("app", app)
      .text("function", function)
      .value("input", input)
      .finish(limit);
}

std::string resource_frame(const session::ResourceNote& resource, std::optional<std::int64_t> n) {
  FrameBuilder frame("resource");
  frame.text("op", "add").text("id", resource.id).text("kind", resource.kind).integer("cost", resource.cost);
  if (n) frame.integer("n", *n);
  return frame.value("cleanup", resource.cleanup).finish(limit);
}

std::string resource_released_frame(std::string_view id) {
  return FrameBuilder("resource").text("op", "release").text("id", id).finish(limit);
}

std::string result_frame(std::string_view request_id, const Json& output, const CallChanges& changes, bool end) {
  FrameBuilder frame("result");
  frame.text("request_id", request_id).value("output", output);
  append_changes(frame, changes);
  return frame.flag("end", end).finish(limit);
}

std::string closed_frame(const std::optional<Error>& failure) {
  JsonArray failures;
  if (failure) {
    failures.push_back(JsonObject{{"id", "close"}, {"kind", "app"}, {"message", to_valid_utf8(failure->message())}});
  }
  return FrameBuilder("closed").value("failures", Json(std::move(failures))).finish(limit);
}

LogLevel read_level(const Frame& frame) {
  if (const auto level = parse_log_level(frame.text_or("level", "info"))) return *level;
  refuse("a frame of type \"log\" needs \"level\": debug, info, warning or error");
}

session::ResourceNote read_resource(Frame& frame) {
  session::ResourceNote resource{.id = frame.text("id"), .kind = frame.text_or("kind", ""), .cleanup = {}};
  if (frame.find("cost") != nullptr) resource.cost = frame.integer("cost");
  if (frame.find("cleanup") != nullptr) resource.cleanup = frame.take("cleanup");
  return resource;
}

ReadChanges read_changes(Frame& frame) {
  ReadChanges changes;
  JsonObject set = frame.take_object("state_set");
  for (auto& [key, value] : set) changes.state.emplace_back(key, std::move(value));
  for (const Json& key : frame.take_array("state_deleted")) {
    if (!key.is_string()) refuse("\"state_deleted\" holds more than keys");
    changes.state.emplace_back(key.get_string(), std::nullopt);
  }
  for (const Json& event : frame.take_array("events")) {
    const JsonObject* object = event.if_object();
    const Json* type = object == nullptr ? nullptr : object->if_contains("type");
    const Json* data = object == nullptr ? nullptr : object->if_contains("data");
    if (type == nullptr || !type->is_string()) refuse("an element of \"events\" needs \"type\": a text");
    if (data != nullptr && !data->is_object()) refuse("an element of \"events\" needs \"data\": an object");
    changes.events.emplace_back(type->get_string(), data == nullptr ? JsonObject() : data->get_object());
  }
  return changes;
}

Error read_app_error(const Frame& frame) {
  Error error = Error::from_json(frame.fields());
  if (error.code() != ErrorCode::worker_lost && error.code() != ErrorCode::protocol_error) return error;
  JsonObject details = error.details();
  details["code"] = info(error.code()).wire;
  return Error(ErrorCode::app_error, error.message(), std::move(details)).set_retryable(error.retryable());
}

}  // namespace sojourn::worker
