#include "sojourn/server/task_logs.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::server {

namespace {

constexpr std::size_t events_at_once = 1'000;
// As many lines as one answer has, each as long as an event may be.
constexpr std::size_t answer_bytes = 1'000 * limits::event_bytes;
constexpr int of_a_task = 4;  // among seed 004's types of lines

// The event, if it is one that tells of this call. Most are left out by their text alone.
std::optional<JsonObject> event_of(const store::Event& event, std::string_view task_id) {
  if (event.body.find(task_id) == std::string::npos) return std::nullopt;
  JsonObject body = parse_json_object(event.body);
  const JsonObject* const data = body.at("data").if_object();
  const Json* const task = data != nullptr ? data->if_contains("task") : nullptr;
  if (task == nullptr || !task->is_string() || task->get_string() != task_id) return std::nullopt;
  return body;
}

JsonObject line_of(const JsonObject& event, const std::string& session_id, const std::string& task_id) {
  const JsonObject& data = event.at("data").as_object();
  JsonObject line{{"id", fmt::format("{}:{}", session_id, event.at("seq").to_number<std::uint64_t>())},
                  {"seq", event.at("seq")},
                  {"task_id", task_id},
                  {"created_at", event.at("time")},
                  {"updated_at", event.at("time")},
                  {"log_type", of_a_task},
                  {"content", data.at("message")}};
  for (const char* name : {"level", "stream", "fields"}) {
    if (const Json* const value = data.if_contains(name)) line[name] = *value;
  }
  return line;
}

}  // namespace

Async<std::string> task_logs(store::Store& store, std::string session_id, std::string task_id, std::uint64_t from,
                             std::size_t limit) {
  JsonArray lines;
  for (bool is_over = false; !is_over && lines.size() < limit;) {
    const std::vector<store::Event> events = co_await store.events(session_id, from, events_at_once);
    is_over = events.empty();
    for (const store::Event& event : events) {
      from = event.seq + 1;
      const std::optional<JsonObject> body = event_of(event, task_id);
      if (!body) continue;
      const std::string_view type = body->at("type").as_string();
      is_over = type == "call.completed" || type == "call.failed" || type == "call.cancelled";
      if (type == "log") lines.emplace_back(line_of(*body, session_id, task_id));
      if (is_over || lines.size() == limit) break;
    }
  }
  co_return to_text(lines, {.bytes = answer_bytes});
}

}  // namespace sojourn::server
