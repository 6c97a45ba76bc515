#include "sojourn/store/archive_format.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::store::archive {

namespace {

constexpr std::string_view signed_head = "sojourn archive 1\n";

// A task's input and output stand on one line.
constexpr JsonLimits line_limits{.bytes = 4 * limits::json_bytes, .depth = limits::json_depth + 2};

std::string text(const JsonObject& object, std::string_view field) {
  return std::string(object.at(field).as_string());
}

[[noreturn]] void refuse(std::string_view what) {
  throw Error(ErrorCode::invalid_request, fmt::format("this is no line of an archive: {}", what));
}

// The text that stands before the last character of a line.
std::string_view tail_of(std::string_view line, std::size_t bytes) {
  if (line.size() <= bytes) refuse("it is too short");
  return line.substr(line.size() - 1 - bytes, bytes);
}

SessionStatus status_of(std::string_view word) {
  for (const auto status :
       {SessionStatus::active, SessionStatus::ended, SessionStatus::expired, SessionStatus::failed}) {
    if (to_string(status) == word) return status;
  }
  refuse("there is no such status");
}

TaskStatus task_status_of(std::string_view word) {
  for (const auto status : {TaskStatus::completed, TaskStatus::failed, TaskStatus::cancelled}) {
    if (to_string(status) == word) return status;
  }
  refuse("there is no such status of a call that is over");
}

std::optional<Seconds> seconds(const JsonObject& object, std::string_view field) {
  const Json& value = object.at(field);
  return value.is_null() ? std::nullopt : std::optional(Seconds(value.to_number<std::int64_t>()));
}

// As usage_text() writes it.
void read_usage(const JsonObject& object, SessionHead& head) {
  const auto number = [&](std::string_view field) { return object.at(field).to_number<std::uint64_t>(); };
  const auto time = [&](std::string_view field) { return Milliseconds(number(field)); };
  head.call_count = number("calls");
  head.usage = {.call_time = time("call_ms"),
                .worker_time = time("worker_ms"),
                .cpu_time = time("cpu_ms"),
                .peak_memory = number("peak_memory_bytes"),
                .bytes_in = number("bytes_in"),
                .bytes_out = number("bytes_out")};
}

}  // namespace

JsonText manifest_text(std::string_view session_id, std::string_view exported_at, const std::vector<File>& files) {
  JsonText manifest = "{\"format\":\"sojourn archive 1\",\"session\":";
  append_json_string(manifest, session_id);
  manifest.append(",\"exported_at\":");
  append_json_string(manifest, exported_at);
  manifest.append(",\"files\":[");
  for (const File& file : files) {
    manifest.append(&file == &files.front() ? "\n" : ",\n").append("{\"path\":");
    append_json_string(manifest, file.path);
    manifest.append(fmt::format(",\"size\":{},\"sha256\":\"{}\"}}", file.size, file.sha256));
  }
  manifest.append("]}\n");
  return manifest;
}

std::string sign_manifest(const SigningKey& key, std::string_view manifest) {
  return fmt::format("{}:{}\n", key.public_key().id(), key.sign(std::string(signed_head).append(manifest)));
}

bool manifest_holds(std::string_view signature, const PublicKeys& keys, std::string_view manifest) {
  const auto key = keys.find(key_of(signature));
  if (key == keys.end() || !signature.ends_with('\n')) return false;
  signature.remove_prefix(key->first.size() + 1);
  signature.remove_suffix(1);
  return key->second.verifies(std::string(signed_head).append(manifest), signature);
}

JsonText session_text(const SessionRecord& record) {
  const SessionHead& head = record.head;
  const auto time_or_null = [](const std::optional<Time>& time) {
    return time ? fmt::format("\"{}\"", format_time(*time)) : std::string("null");
  };
  const auto seconds_or_null = [](const std::optional<Seconds>& seconds) {
    return seconds ? std::to_string(seconds->count()) : std::string("null");
  };
  JsonText json = "{";
  const auto field = [&json](std::string_view name, std::string_view value) {
    if (json.size() > 1) json += ",\n";
    append_json_string(json, name);
    json.append(":").append(value);
  };
  const auto quoted = [](std::string_view value) {
    std::string json_string;
    append_json_string(json_string, to_valid_utf8(value));
    return json_string;
  };
  field("id", quoted(record.id));
  field("app", quoted(record.app));
  field("app_version", quoted(record.app_version));
  field("user_id", quoted(record.user));
  field("lifecycle", quoted(record.lifecycle));
  field("created_at", quoted(format_time(record.created_at)));
  field("updated_at", quoted(format_time(head.updated_at)));
  field("ended_at", time_or_null(head.ended_at));
  field("status", quoted(to_string(head.status)));
  field("stage", quoted(head.stage));
  field("end_reason", quoted(head.end_reason));
  field("version", std::to_string(record.version));
  field("call_count", std::to_string(head.call_count));
  field("session_timeout", seconds_or_null(record.idle_timeout));
  field("lifetime", seconds_or_null(record.lifetime));
  field("steps", std::to_string(head.step_count));
  field("usage", usage_text(head));
  field("events", std::to_string(head.chain.seq));
  field("head", quoted(to_hex(head.chain.hash)));
  field("signature", quoted(head.signature));
  field("setup", record.setup);
  field("labels", record.labels);
  field("metadata", record.metadata);
  field("error", head.error);
  field("context_bytes", std::to_string(record.context.size()));
  field("context", record.context);
  return json + "}";
}

std::string event_line(const Event& event) {
  return fmt::format("{{\"hash\":\"{}\",\"event\":{}}}\n", to_hex(event.hash), event.body);
}

std::string state_line(std::string_view key, const JsonText& value) {
  std::string line = "{\"key\":";
  append_json_string(line, key);
  return line.append(fmt::format(",\"bytes\":{},\"value\":{}}}\n", value.size(), value));
}

std::string task_line(const TaskRecord& task) {
  std::string line = "{\"task\":";
  append_json_string(line, task.id);
  line.append(fmt::format(",\"seq\":{},\"function\":", task.seq));
  append_json_string(line, to_valid_utf8(task.function));
  line.append(fmt::format(",\"status\":\"{}\",", to_string(task.status)));
  if (task.run_at) line.append(fmt::format("\"run_at\":\"{}\",", format_time(*task.run_at)));
  line.append(
      fmt::format("\"input_bytes\":{},\"error_bytes\":{},\"bytes\":{},\"input\":{},\"error\":{},\"output\":{}}}\n",
                  task.input.size(), task.error.size(), task.output.size(), task.input, task.error, task.output));
  return line;
}

SessionRecord read_session(std::string_view json) {
  const JsonObject object = parse_json_object(json, {.depth = limits::json_depth + 2});
  SessionRecord record;
  record.id = text(object, "id");
  record.app = text(object, "app");
  record.app_version = text(object, "app_version");
  record.user = text(object, "user_id");
  record.lifecycle = text(object, "lifecycle");
  record.created_at = parse_time(text(object, "created_at"));
  record.idle_timeout = seconds(object, "session_timeout");
  record.lifetime = seconds(object, "lifetime");
  record.setup = to_text(object.at("setup"));
  record.labels = to_text(object.at("labels"));
  record.metadata = to_text(object.at("metadata"));
  record.context = tail_of(json, object.at("context_bytes").to_number<std::size_t>());
  SessionHead& head = record.head;
  head.status = status_of(text(object, "status"));
  head.stage = text(object, "stage");
  head.end_reason = text(object, "end_reason");
  if (!object.at("ended_at").is_null()) head.ended_at = parse_time(text(object, "ended_at"));
  head.error = to_text(object.at("error"));
  head.chain.seq = object.at("events").to_number<std::uint64_t>();
  head.chain.hash = hash_from_hex(text(object, "head"));
  head.step_count = object.at("steps").to_number<std::uint64_t>();
  head.signature = text(object, "signature");
  read_usage(object.at("usage").as_object(), head);
  return record;
}

Event read_event(std::string_view line) {
  constexpr std::string_view start = "{\"hash\":\"";
  constexpr std::string_view middle = "\",\"event\":";
  constexpr std::size_t digits = 64;
  constexpr std::size_t before = start.size() + digits + middle.size();
  if (line.size() <= before || !line.starts_with(start) ||
      line.substr(start.size() + digits, middle.size()) != middle || line.back() != '}') {
    refuse("it holds no event");
  }
  Event event{.body = std::string(line.substr(before, line.size() - before - 1)),
              .hash = hash_from_hex(line.substr(start.size(), digits))};
  const Json body = parse_json(event.body, {.depth = limits::json_depth + 2});
  event.seq = body.as_object().at("seq").to_number<std::uint64_t>();
  return event;
}

std::pair<std::string, JsonText> read_state(std::string_view line) {
  const JsonObject object = parse_json_object(line, line_limits);
  return {text(object, "key"), JsonText(tail_of(line, object.at("bytes").to_number<std::size_t>()))};
}

TaskRecord read_task(std::string_view line) {
  const JsonObject object = parse_json_object(line, line_limits);
  TaskRecord task;
  task.id = text(object, "task");
  task.function = text(object, "function");
  task.status = task_status_of(text(object, "status"));
  if (object.contains("run_at")) task.run_at = parse_time(text(object, "run_at"));
  // From the end on, where they stand one after another.
  const auto take = [&](std::string_view bytes, std::string_view name) {
    const std::string value(tail_of(line, object.at(bytes).to_number<std::size_t>()));
    const std::size_t rest = value.size() + name.size() + std::string_view(",\"\":").size();
    if (line.size() <= rest) refuse("it is too short");
    line.remove_suffix(rest);
    return value;
  };
  task.output = take("bytes", "output");
  task.error = take("error_bytes", "error");
  task.input = take("input_bytes", "input");
  return task;
}

}  // namespace sojourn::store::archive
