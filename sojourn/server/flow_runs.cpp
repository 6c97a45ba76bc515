#include "sojourn/server/flow_runs.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::server {

namespace {

constexpr JsonLimits run_limits{.bytes = 256 * limits::mebibyte, .depth = limits::json_depth + 2};

JsonObject run_object(const JsonObject& body, std::string_view state, const JsonObject& data) {
  JsonObject run{{"seq", body.at("seq")}, {"time", body.at("time")}, {"state", state}};
  for (const auto& [name, value] : data) run.emplace(name, value);
  return run;
}

}  // namespace

void FlowRuns::add(const std::vector<store::Event>& events) {
  for (const store::Event& event : events) {
    if (is_full()) return;
    try {
      take(event);
    } catch (const std::exception&) {
      // It was altered, or is no flow's; the others can be read all the same, and verification names it.
    }
  }
}

void FlowRuns::take(const store::Event& event) {
  const JsonObject body = parse_json_object(event.body, run_limits);
  const std::string_view type = body.at("type").as_string();
  if (type != "flow.run" && type != "flow.progress") return;
  const JsonObject& data = body.at("data").as_object();
  const std::string_view task = data.at("task").as_string();
  // A session's calls run one after the other, so that one ended without a word.
  if (open_ && open_->task != task) close_open("cut_short", open_->seen);
  if (is_full()) {
    next_ = event.seq;
    return;
  }
  if (type == "flow.progress") {
    take_progress(body, data, event.body.size());
    return;
  }
  bytes_ += event.body.size();
  open_.reset();
  runs_.push_back(run_object(body, "over", data));
  if (is_full()) next_ = event.seq + 1;
}

void FlowRuns::take_progress(const JsonObject& body, const JsonObject& data, std::size_t bytes) {
  if (open_ && open_->bytes >= most_bytes_) return;
  // All that may be wrong with it first, so that nothing of it is taken then.
  const Time start = parse_time(data.at("start").as_string());
  const Time seen = parse_time(body.at("time").as_string());
  const Json& left_out = data.at("left_out");
  std::vector<std::pair<std::uint64_t, JsonObject>> calls;
  for (const Json& call : data.at("calls").as_array()) {
    static_cast<void>(call.at("status").as_string());
    static_cast<void>(call.at("start_us").to_number<std::int64_t>());
    calls.emplace_back(call.at("call").to_number<std::uint64_t>(), call.as_object());
  }
  if (!open_) {
    open_.emplace();
    open_->task = std::string(data.at("task").as_string());
    open_->start = start;
    open_->told = run_object(body, "running", data);
  }
  open_->told["time"] = body.at("time");
  open_->told["left_out"] = left_out;
  open_->seen = seen;
  open_->bytes += bytes;
  bytes_ += bytes;
  for (auto& [number, call] : calls) open_->calls[number] = std::move(call);
}

void FlowRuns::end(bool is_running, Time now) {
  if (open_) close_open(is_running ? "running" : "cut_short", is_running ? now : open_->seen);
}

// `now` is when what is open was seen to be that.
void FlowRuns::close_open(std::string_view state, Time now) {
  Open open = std::move(*open_);
  open_.reset();
  JsonArray calls;
  for (auto& [id, call] : open.calls) {
    if (call.at("status") == Json("Open")) {
      const Time start = open.start + Microseconds(call.at("start_us").to_number<std::int64_t>());
      call["us"] = std::max<std::int64_t>(0, (now - start).count());
    }
    calls.push_back(std::move(call));
  }
  open.told["state"] = state;
  open.told["calls"] = std::move(calls);
  runs_.push_back(std::move(open.told));
}

std::string FlowRuns::json() const {
  JsonArray all;
  for (const JsonObject& run : runs_) all.push_back(run);
  return to_text(Json(std::move(all)), run_limits);
}

}  // namespace sojourn::server
