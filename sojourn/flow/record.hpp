#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/flow/graph.hpp"

// The record of a flow session while it is written.
namespace sojourn::flow {

// Threads: safe.
class Record {
 public:
  // A call has begun. Order: ids count from 0 in the order of the calls of begin().
  CallId begin(std::shared_ptr<const NodeType> node, std::optional<CallId> caller, Text input, Time now);

  // It is over. Once for each call.
  void complete(CallId id, Text output, Time now, Nanoseconds duration);
  void fail(CallId id, Failure failure, Time now, Nanoseconds duration);

  // It asked a model. `asked.messages` are all of its question.
  void note_model_call(CallId id, ModelCall asked);

  // What there is now, or was when `step` steps had been taken.
  Graph graph() const;
  Graph graph_at(std::uint32_t step) const;

  // Its first calls, at most as many.
  Graph beginning(std::size_t calls) const;

  std::size_t size() const;

 private:
  void end(CallRecord& call, Time now, Nanoseconds duration);

  mutable std::mutex mutex_;
  std::deque<CallRecord> calls_;
  std::uint32_t steps_ = 0;
};

}  // namespace sojourn::flow
