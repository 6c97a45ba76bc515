#pragma once

#include "sojourn/base/clock.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/runtime/runtime.hpp"

namespace sojourn::server {

enum class StreamFormat { ndjson, sse };

struct StreamTimes {
  Seconds heartbeat{15};
  Milliseconds linger{
      100};  // between the last line and the end: clients on Node 20 may miss a line that ends at once
};

// Follows a task until it is final: its state as it stands first, then each change, and heartbeats in between. What a
// client missed is in the first line, with the newest partial output, and in the deltas after that output, which are
// told again with the same numbers; so it may come, and come back, at any time.
// Shape:  docs/formats/http.md, "Streams".
// Errors: task_not_found, before anything is written; connection_failed when the client is gone.
Async<void> stream_task(runtime::Runtime& runtime, Clock& clock, std::string task_id, StreamFormat format,
                        StreamTimes times, http::Responder& responder);

}  // namespace sojourn::server
