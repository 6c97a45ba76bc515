#include "sojourn/flow/run_progress.hpp"

#include <algorithm>
#include <utility>

#include "sojourn/base/limits.hpp"

namespace sojourn::flow {

namespace {

constexpr std::size_t told_bytes = 192 * limits::kibibyte;  // with the rest of an event, within limits::event_bytes

std::string beginning_of(const std::string& text, std::size_t bytes) {
  return to_valid_utf8(std::string_view(text).substr(0, bytes));
}

JsonObject told(const CallRecord& call, Time start) {
  JsonObject json{{"call", call.id},
                  {"caller", call.caller ? Json(*call.caller) : Json()},
                  {"node", beginning_of(call.node->name, 100)},
                  {"status", to_string(call.status())},
                  {"start_us", (call.created.time - start).count()},
                  {"us", std::chrono::duration_cast<Microseconds>(call.duration).count()}};
  if (call.failure) json["error"] = beginning_of(call.failure->message, 200);
  return json;
}

JsonObject told(const session::CallRequest& request, Time start, JsonArray calls, std::size_t left_out) {
  return {{"task", request.task_id},
          {"function", request.function},
          {"start", format_time(start)},
          {"calls", std::move(calls)},
          {"left_out", left_out}};
}

Time start_of(const Graph& graph) {
  return graph.empty() ? Time() : graph.calls().front().created.time;
}

// Adds `call`, if there is room for it.
bool add(JsonArray& calls, std::size_t& bytes, const CallRecord& call, Time start) {
  JsonObject json = told(call, start);
  bytes += to_text(json).size() + 1;
  if (bytes > told_bytes) return false;
  calls.push_back(std::move(json));
  return true;
}

}  // namespace

JsonObject told_run(const session::CallRequest& request, const Graph& graph) {
  const Time start = start_of(graph);
  JsonArray calls;
  std::size_t bytes = 0;
  for (const CallRecord& call : graph.calls().first(std::min(told_calls, graph.calls().size()))) {
    if (!add(calls, bytes, call, start)) break;
  }
  const std::size_t left_out = graph.calls().size() - calls.size();
  return told(request, start, std::move(calls), left_out);
}

std::optional<JsonObject> RunProgress::changed(const Graph& beginning, std::size_t count) {
  const Time start = start_of(beginning);
  JsonArray calls;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < beginning.calls().size(); ++i) {
    const CallRecord& call = beginning.calls()[i];
    const CallStatus status = call.status();
    if (i < told_.size() && told_[i] == status) continue;
    if (!add(calls, bytes, call, start)) break;
    if (i < told_.size()) {
      told_[i] = status;
    } else {
      told_.push_back(status);
    }
  }
  if (calls.empty()) return std::nullopt;
  return told(request_, start, std::move(calls), count - told_.size());
}

}  // namespace sojourn::flow
