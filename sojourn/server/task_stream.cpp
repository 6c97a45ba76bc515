#include "sojourn/server/task_stream.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/event.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/server/wire.hpp"

namespace sojourn::server {

namespace {

void append_line(std::string& out, StreamFormat format, std::string_view json) {
  if (format == StreamFormat::sse) {
    out.append("data: ").append(json).append("\n\n");
  } else {
    out.append(json).append("\n");
  }
}

runtime::TaskView view_of(const runtime::LiveCall& call) {
  return {call.task, call.app};
}

// What waits for a slow follower is one piece of so much, or one update where that is larger.
constexpr std::size_t piece_bytes = 64 * limits::kibibyte;

// The next piece of what a follower of `call` is told of what came after `seen`, as lines; its first line told the
// statuses up to `begun`. A burst of status changes is told once. Of a final call only the deltas are told: the whole
// task follows.
std::string lines_after(const runtime::LiveCall& call, std::uint64_t& seen, std::uint64_t begun,
                        StreamFormat format) {
  std::string lines;
  bool status_changed = false;
  const auto tell_status = [&] {
    if (std::exchange(status_changed, false) && !call.is_final()) {
      append_line(
          lines, format,
          fmt::format("{{\"data\":{},\"fields\":[\"status\"]}}", task_change_json(view_of(call), std::nullopt)));
    }
  };
  for (const runtime::Update& update : call.updates_after(seen, piece_bytes)) {
    seen = update.seq;
    switch (update.kind) {
      case runtime::Update::Kind::status:
        if (update.seq > begun) status_changed = true;
        break;
      case runtime::Update::Kind::partial:
        status_changed = false;
        if (call.is_final()) break;
        append_line(lines, format,
                    fmt::format("{{\"data\":{},\"fields\":[\"status\",\"output\"]}}",
                                task_change_json(view_of(call), update.text)));
        break;
      case runtime::Update::Kind::delta:
        tell_status();
        append_line(
            lines, format,
            fmt::format("{{\"event\":\"delta\",\"data\":{{\"delta\":{},\"seq\":{}}}}}", update.text, update.seq));
        break;
    }
  }
  tell_status();
  return lines;
}

// Stands for all that came before it.
struct PartialOutput {
  std::string text = "null";
  std::uint64_t seq = 0;
};

PartialOutput newest_partial(const runtime::LiveCall& call) {
  PartialOutput newest;
  for (const runtime::Update& update : call.updates_after(0)) {
    if (update.kind == runtime::Update::Kind::partial) newest = {.text = update.text, .seq = update.seq};
  }
  return newest;
}

}  // namespace

Async<void> stream_task(runtime::Runtime& runtime, Clock& clock, std::string task_id, StreamFormat format,
                        StreamTimes times, http::Responder& responder) {
  const std::shared_ptr<runtime::LiveCall> call = co_await runtime.follow(task_id);
  runtime::TaskView view = call ? view_of(*call) : co_await runtime.task(std::move(task_id));
  http::Response head;
  head.content_type = format == StreamFormat::sse ? "text/event-stream" : "application/x-ndjson";
  head.headers.add("Cache-Control", "no-store");
  co_await responder.start(std::move(head));

  std::string lines;
  if (call) {
    const std::uint64_t begun = call->last_update();
    const PartialOutput output = newest_partial(*call);
    std::uint64_t seen = output.seq;
    append_line(lines, format, task_json(view_of(*call), output.text));
    co_await responder.write(std::exchange(lines, {}));
    while (!call->is_final()) {
      const std::uint64_t before = seen;
      co_await runtime::LiveCall::wait_update(call, seen, clock, clock.instant() + times.heartbeat);
      if (call->is_final()) break;
      // A call whose time comes under the next server ends with no line of this one.
      if (runtime.is_draining() && store::is_scheduled(call->task)) {
        throw Error(ErrorCode::unavailable, "the server is stopping");
      }
      lines = lines_after(*call, seen, begun, format);
      if (seen == before) append_line(lines, format, R"({"type":"heartbeat"})");
      if (!lines.empty()) co_await responder.write(std::exchange(lines, {}));
    }
    // Deltas that came with the end are told before it.
    while (seen < call->last_update()) {
      lines += lines_after(*call, seen, begun, format);
      if (lines.size() >= piece_bytes) co_await responder.write(std::exchange(lines, {}));
    }
    view = view_of(*call);
  }
  append_line(lines, format, task_json(view));
  co_await responder.write(std::move(lines));
  co_await sleep_until(clock, clock.instant() + times.linger);
}

}  // namespace sojourn::server
