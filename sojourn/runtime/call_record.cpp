#include "sojourn/runtime/call_record.hpp"

namespace sojourn::runtime {

using store::TaskStatus;

namespace {

// The data of an event that tells of a call; the caller adds to it and closes it.
std::string begin_call_event(const store::TaskRecord& task) {
  std::string data;
  data.reserve(512);
  data.append("{\"task\":\"").append(task.id).append("\",\"function\":");
  append_json_string(data, task.function);
  if (task.run_at) data.append(",\"run_at\":\"").append(format_time(*task.run_at)).append("\"");
  return data;
}

}  // namespace

session::NewEvent accepted_event(const LiveCall& call) {
  std::string data = begin_call_event(call.task);
  data.append(",\"input\":\"").append(to_hex(sha256(call.task.input))).append("\"}");
  return {.type = "call.accepted", .actor = call.actor, .data = std::move(data)};
}

session::NewEvent completed_event(const LiveCall& call, std::string_view output,
                                  const std::vector<store::StateChange>& state, Microseconds took) {
  std::string data = begin_call_event(call.task);
  data.append(",\"input\":\"").append(to_hex(sha256(call.task.input)));
  data.append("\",\"output\":\"").append(to_hex(sha256(output)));
  data.append("\",\"state\":").append(session::state_hashes(state));
  data.append(",\"us\":").append(std::to_string(took.count())).append("}");
  return {.type = "call.completed", .actor = call.actor, .data = std::move(data)};
}

store::TaskRecord final_record(const LiveCall& call, const CallEnd& end) {
  store::TaskRecord task = call.task;
  task.status = end.status;
  task.output = end.output;
  task.error = end.error;
  task.updated_at = end.time;
  task.ended_at = end.time;
  return task;
}

session::NewEvent failed_event(const store::TaskRecord& task, TaskStatus status, const Error& error) {
  std::string data = begin_call_event(task);
  data.append(",\"input\":\"").append(to_hex(sha256(task.input)));
  data.append("\",\"error_hash\":\"").append(to_hex(sha256(to_text(error.to_json()))));
  data.append("\",\"code\":\"").append(info(error.code()).wire).append("\",\"message\":");
  append_json_string(data, to_valid_utf8(error.message()));
  data += '}';
  return {.type = status == TaskStatus::cancelled ? "call.cancelled" : "call.failed",
          .actor = "server",
          .data = std::move(data)};
}

}  // namespace sojourn::runtime
