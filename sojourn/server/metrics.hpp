#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/http/server.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/server/webhooks.hpp"
#include "sojourn/store/commit_writer.hpp"

// What the server counts, in the text form that Prometheus reads (docs/reference/metrics.md).
//
// Everyone counts for himself, in plain numbers; here they are only read, when somebody asks.
namespace sojourn::server {

// How requests of one route were answered.
struct RouteCount {
  std::string route;                        // "GET /tasks/{id}"
  std::array<std::uint64_t, 5> by_class{};  // 1xx to 5xx

  void add(int status) { ++by_class.at(static_cast<std::size_t>(status) / 100 - 1); }
};

// Where numbers come from besides the runtime; what is absent is 0.
struct MetricSources {
  std::function<store::WriterStatistics()> store;
  std::function<http::ServerStatistics()> http;
  std::function<Async<WebhookStatistics>()> webhooks;
};

// The memory of processes, as far as they still live.
struct ProcessMemory {
  std::size_t processes = 0;
  std::uint64_t bytes = 0;  // resident; what they share is counted with each
};

// The memory of at most `most_sampled` of `pids`. Blocks: about 10 us each.
ProcessMemory memory_of(const std::vector<std::int64_t>& pids);
inline constexpr std::size_t most_sampled = 2'000;

// All metrics as text. The memory of workers is read on `blocking`, and how late the loop is by its next turn.
Async<std::string> metrics_text(runtime::Runtime& runtime, const MetricSources& sources,
                                std::vector<const RouteCount*> routes, Clock& clock, BlockingPool& blocking);

}  // namespace sojourn::server
