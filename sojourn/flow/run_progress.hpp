#pragma once

#include <optional>
#include <vector>

#include "sojourn/flow/graph.hpp"
#include "sojourn/session/app.hpp"

// What a session's journal is told of a run: its calls when it is over, and what has become of them while it runs
// (docs/formats/journal.md).
namespace sojourn::flow {

inline constexpr std::size_t told_calls = 1'000;  // of a run; the others are counted

// The data of "flow.run": all calls, or the first of them. Shape: within limits::event_bytes.
JsonObject told_run(const session::CallRequest& request, const Graph& graph);

// A run while it runs.
class RunProgress {
 public:
  // Lifetime: `request` outlives it.
  explicit RunProgress(const session::CallRequest& request) : request_(request) {}

  // The data of "flow.progress": the calls that have begun or ended since it was last asked, as many as an event may
  // hold; nothing where there are none. `beginning` holds the first told_calls of `count`.
  std::optional<JsonObject> changed(const Graph& beginning, std::size_t count);

 private:
  const session::CallRequest& request_;
  std::vector<CallStatus> told_;  // of each call, as it was told last
};

}  // namespace sojourn::flow
