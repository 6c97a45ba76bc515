#include "sojourn/server/wire.hpp"

#include <fmt/format.h>

#include <utility>

namespace sojourn::server {

namespace {

// Writes one JSON object, field by field.
class ObjectWriter {
 public:
  ObjectWriter() { text_.reserve(1024); }

  ObjectWriter& json(std::string_view key, std::string_view value) {
    text_ += text_.empty() ? '{' : ',';
    text_.append("\"").append(key).append("\":").append(value);
    return *this;
  }
  ObjectWriter& string(std::string_view key, std::string_view value) {
    json(key, "");
    append_json_string(text_, value);
    return *this;
  }
  ObjectWriter& time(std::string_view key, const std::optional<Time>& value) {
    return value ? string(key, format_time(*value)) : json(key, "null");
  }
  ObjectWriter& number(std::string_view key, std::uint64_t value) { return json(key, std::to_string(value)); }
  std::string end() {
    text_ += '}';
    return std::move(text_);
  }

 private:
  std::string text_;
};

std::string_view short_id(std::string_view id) {
  return id.substr(id.rfind('_') + 1);
}

std::string_view output_of(const store::TaskRecord& task, std::optional<std::string_view> partial) {
  return store::is_final(task.status) || !partial ? std::string_view(task.output) : *partial;
}

// Seed 004's wire has no "failed": it is shown as ended, with the error beside it.
std::string_view status_of(store::SessionStatus status) {
  return store::to_string(status == store::SessionStatus::failed ? store::SessionStatus::ended : status);
}

void write_webhook(ObjectWriter& object, const store::Webhook& webhook) {
  using Status = store::Webhook::Status;
  const std::string_view status = webhook.status == Status::delivered  ? "delivered"
                                  : webhook.status == Status::given_up ? "failed"
                                                                       : "pending";
  object.string("webhook", webhook.url).string("webhook_status", status);
  if (webhook.attempts > 0) object.number("webhook_attempts", webhook.attempts);
  if (!webhook.error.empty()) object.string("webhook_error", webhook.error);
}

// The error's message as text, since callers of seed 004 print the field as it is; the rest stands in error_info.
void write_error(ObjectWriter& object, const store::TaskRecord& task) {
  if (task.error == "null") {
    object.json("error", "null");
    return;
  }
  const Error error = Error::from_json(parse_json_object(task.error));
  object.string("error", error.message()).json("error_info", task.error);
}

Json time_or_null(const std::optional<Time>& time) {
  return time ? Json(format_time(*time)) : Json();
}

}  // namespace

std::string task_json(const runtime::TaskView& view, std::optional<std::string_view> partial) {
  const store::TaskRecord& task = view.task;
  ObjectWriter object;
  object.string("id", task.id)
      .string("short_id", short_id(task.id))
      .string("session_id", task.session_id)
      .number("status", static_cast<std::uint64_t>(task.status))
      .string("status_text", store::to_string(task.status))
      .string("app_id", view.app)
      .string("function", task.function)
      .number("seq", task.seq)
      .json("input", task.input)
      .json("output", output_of(task, partial));
  write_error(object, task);
  if (view.queue_position) object.number("queue_position", *view.queue_position);
  if (task.run_at) object.time("run_at", task.run_at);
  if (task.webhook) write_webhook(object, *task.webhook);
  return object.time("created_at", task.created_at)
      .time("updated_at", task.updated_at)
      .time("started_at", task.started_at)
      .time("ended_at", task.ended_at)
      .end();
}

std::string task_change_json(const runtime::TaskView& view, std::optional<std::string_view> partial) {
  const store::TaskRecord& task = view.task;
  return ObjectWriter()
      .string("id", task.id)
      .string("session_id", task.session_id)
      .number("status", static_cast<std::uint64_t>(task.status))
      .string("status_text", store::to_string(task.status))
      .json("output", output_of(task, partial))
      .time("updated_at", task.updated_at)
      .end();
}

std::string task_status_json(const runtime::TaskView& view) {
  return ObjectWriter()
      .string("id", view.task.id)
      .number("status", static_cast<std::uint64_t>(view.task.status))
      .string("status_text", store::to_string(view.task.status))
      .time("updated_at", view.task.updated_at)
      .end();
}

std::string session_expiry_json(const runtime::SessionView& view) {
  return ObjectWriter()
      .string("id", view.record.id)
      .string("status", status_of(view.record.head.status))
      .time("expires_at", view.record.head.expires_at)
      .end();
}

std::string session_json(const runtime::SessionView& view) {
  const store::SessionRecord& session = view.record;
  const store::SessionHead& head = session.head;
  ObjectWriter object;
  object.string("id", session.id)
      .string("short_id", short_id(session.id))
      .string("app_id", session.app)
      .string("app_version_id", session.app_version);
  const bool failed = head.status == store::SessionStatus::failed;
  object.string("status", status_of(head.status))
      .string("stage", head.stage)
      .string("lifecycle", session.lifecycle)
      .string("user_id", session.user)
      .time("created_at", session.created_at)
      .time("updated_at", head.updated_at)
      .time("expires_at", head.expires_at)
      .time("ended_at", head.ended_at)
      .number("call_count", head.call_count)
      .time("last_call_at", head.last_call_at);
  if (session.idle_timeout) {
    object.number("idle_timeout", static_cast<std::uint64_t>(session.idle_timeout->count()));
  }
  if (session.lifetime) object.number("lifetime", static_cast<std::uint64_t>(session.lifetime->count()));
  if (head.status != store::SessionStatus::active) object.string("end_reason", head.end_reason);
  if (failed) object.json("error", head.error);
  if (!head.signature.empty()) object.string("signature", head.signature);
  if (const Json* pid = view.worker.if_contains("pid")) object.string("worker_id", "pid-" + to_text(*pid));
  return object.json("busy", view.busy ? "true" : "false")
      .json("asleep", view.asleep ? "true" : "false")
      .number("queued", view.queued)
      .json("usage", store::usage_text(head))
      .number("version", session.version)
      .number("events", head.chain.seq)
      .string("head", to_hex(head.chain.hash))
      .json("context", session.context)
      .json("labels", session.labels)
      .json("metadata", session.metadata)
      .end();
}

std::string events_json(const std::vector<store::Event>& events) {
  std::string json = "[";
  for (const store::Event& event : events) {
    if (json.size() > 1) json += ',';
    json.append("{\"event\":").append(event.body).append(",\"hash\":\"").append(to_hex(event.hash)).append("\"}");
  }
  return json += ']';
}

JsonObject step_object(const store::StepRecord& step) {
  JsonObject json{{"number", step.number},
                  {"step", step.name},
                  {"attempt", step.attempt},
                  {"status", store::to_string(step.status)},
                  {"started_at", format_time(step.started_at)},
                  {"ended_at", time_or_null(step.ended_at)}};
  json["duration_ms"] = step.status == store::StepStatus::running ? Json() : Json(whole_milliseconds(step.duration));
  json["error"] = parse_json(step.error);
  return json;
}

std::int64_t whole_milliseconds(Microseconds duration) {
  return std::chrono::round<Milliseconds>(duration).count();
}

std::string app_json(const session::AppInfo& app, const JsonObject& workers) {
  JsonObject json{{"id", app.name},
                  {"name", app.name},
                  {"version", app.version},
                  {"description", app.description},
                  {"functions", JsonArray(app.functions.begin(), app.functions.end())},
                  {"default_function", app.default_function},
                  {"session_timeout", app.session_timeout.count()},
                  {"call_timeout", app.call_timeout.count()},
                  {"max_sessions", app.max_sessions},
                  {"queue_limit", app.queue_limit},
                  {"recover", app.recover},
                  {"sleep_after", app.sleep_after ? Json(app.sleep_after->count()) : Json()}};
  if (!workers.empty()) json["workers"] = workers;
  return to_text(json);
}

http::Response data_response(bool bare, int status, std::string json) {
  http::Response response;
  response.status = status;
  if (bare) {
    response.body = std::move(json);
  } else {
    response.body.reserve(json.size() + 64);
    response.body.append("{\"success\":true,\"status\":").append(std::to_string(status)).append(",\"data\":");
    response.body.append(json).append(",\"messages\":[]}");
  }
  return response;
}

http::Response error_response(const Error& error) {
  const ErrorInfo& registered = info(error.code());
  JsonObject inner{{"code", registered.wire},
                   {"message", to_valid_utf8(error.message())},
                   {"advice", registered.advice},
                   {"retryable", error.retryable()}};
  if (!error.details().empty()) inner["details"] = error.details();
  const JsonObject body{{"type", fmt::format("urn:sojourn:error:{}", registered.wire)},
                        {"title", registered.name},
                        {"status", registered.http_status},
                        {"detail", to_valid_utf8(error.message())},
                        {"code", registered.wire},
                        {"success", false},
                        {"error", std::move(inner)}};
  http::Response response;
  response.status = registered.http_status;
  response.content_type = "application/problem+json";
  response.body = to_text(body);
  if (error.retryable() && (response.status == 429 || response.status == 503))
    response.headers.add("Retry-After", "1");
  const Json* const allow = error.details().if_contains("allow");
  if (error.code() == ErrorCode::method_not_allowed && allow != nullptr) {
    response.headers.add("Allow", std::string(allow->as_string()));
  }
  if (error.code() == ErrorCode::unauthorized) response.headers.add("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace sojourn::server
