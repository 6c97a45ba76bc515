#include "sojourn/store/told_calls.hpp"

#include <fmt/format.h>

#include <exception>

namespace sojourn::store {

namespace {

std::string_view text_of(const JsonObject& object, std::string_view field) {
  const Json* value = object.if_contains(field);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

void note_hash(std::optional<Hash>& hash, const JsonObject& data, std::string_view field) {
  const Json* value = data.if_contains(field);
  if (value == nullptr) return;
  hash = Hash{};
  try {
    hash = hash_from_hex(text_of(data, field));
  } catch (const std::exception&) {
    // One that is no hash fits nothing.
  }
}

bool differs(const std::optional<Hash>& told, const Hash& found) {
  return told && *told != found;
}

}  // namespace

TaskNote::TaskNote(const TaskRecord& task)
    : id(task.id),
      status(task.status),
      function(task.function),
      input(sha256(task.input)),
      output(task.status == TaskStatus::completed ? sha256(task.output) : Hash{}),
      has_output(task.output != "null"),
      error(task.error == "null" ? Hash{} : sha256(task.error)),
      has_error(task.error != "null"),
      run_at(task.run_at) {}

void ToldCalls::take(std::uint64_t seq, std::string_view type, const JsonObject& data) {
  const std::string_view task = text_of(data, "task");
  // A checkpoint is of a call that may have no row yet.
  if (task.empty() || type == "call.checkpoint") return;
  Told& told = tasks_[std::string(task)];
  told.seq = seq;
  if (type == "call.completed") told.status = TaskStatus::completed;
  if (type == "call.failed") told.status = TaskStatus::failed;
  if (type == "call.cancelled") told.status = TaskStatus::cancelled;
  if (const auto run_at = text_of(data, "run_at"); !run_at.empty()) told.run_at = run_at;
  if (const auto function = text_of(data, "function"); !function.empty()) told.function = function;
  note_hash(told.input, data, "input");
  note_hash(told.output, data, "output");
  note_hash(told.error, data, "error_hash");
}

std::string ToldCalls::complaint(const Told& told, const TaskNote& row) {
  const bool over = is_final(told.status) || is_final(row.status);
  if (over && told.status != row.status) {
    return fmt::format("is {}, though event {} tells that it is {}", to_string(row.status), told.seq,
                       is_final(told.status) ? to_string(told.status) : "not over");
  }
  std::string_view field;
  if (!told.function.empty() && told.function != row.function) field = "function";
  if (differs(told.input, row.input)) field = "input";
  if (row.status == TaskStatus::completed ? row.has_error : differs(told.error, row.error)) field = "error";
  if (row.status != TaskStatus::completed && row.has_output) field = "output";
  if (told.run_at != (row.run_at ? format_time(*row.run_at) : "")) field = "time to run at";
  return field.empty() ? ""
                       : fmt::format("has another {} than event {} and those before it recorded", field, told.seq);
}

std::optional<Finding> ToldCalls::check(TaskNote row, bool may_be_newer) {
  const auto place = tasks_.find(row.id);
  const bool completed = row.status == TaskStatus::completed;
  if (place == tasks_.end()) {
    return Finding{completed ? Finding::Kind::output : Finding::Kind::call, 0, "", row.id,
                   completed ? fmt::format("no event recorded the output of task '{}'", row.id)
                             : fmt::format("no event tells of task '{}'", row.id)};
  }
  const Told told = std::move(place->second);
  tasks_.erase(place);
  if (may_be_newer && !is_final(told.status) && is_final(row.status)) {
    row.status = told.status;
    row.has_output = false;
  }
  if (told.status == TaskStatus::completed && completed && differs(told.output, row.output)) {
    return Finding{Finding::Kind::output, told.seq, "", row.id,
                   fmt::format("the output of task '{}' is not what event {} recorded", row.id, told.seq)};
  }
  const std::string wrong = complaint(told, row);
  if (wrong.empty()) return std::nullopt;
  return Finding{Finding::Kind::call, told.seq, "", row.id, fmt::format("task '{}' {}", row.id, wrong)};
}

std::optional<TaskStatus> ToldCalls::status_of(const std::string& task) const {
  const auto place = tasks_.find(task);
  return place == tasks_.end() ? std::nullopt : std::optional(place->second.status);
}

std::vector<std::string> ToldCalls::rest() const {
  std::vector<std::string> rest;
  for (const auto& [task, told] : tasks_) rest.push_back(task);
  return rest;
}

Finding ToldCalls::missing(const std::string& task) const {
  const Told& told = tasks_.at(task);
  const bool completed = told.status == TaskStatus::completed;
  return {completed ? Finding::Kind::output : Finding::Kind::call, told.seq, "", task,
          fmt::format("task '{}' is missing, though event {} {}", task, told.seq,
                      completed ? "recorded its output" : "tells of it")};
}

}  // namespace sojourn::store
