#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// A page of the runs of flows that a session's journal tells of: of those that are over by "flow.run", of one that
// runs, or was cut short, by its "flow.progress" so far.
namespace sojourn::server {

// Threads: none; the owner keeps calls apart.
class FlowRuns {
 public:
  // Full with `most` runs, or with events of so many bytes; a run that it has begun with is whole all the same,
  // unless what was told of it while it ran has as many bytes alone.
  FlowRuns(std::size_t most, std::size_t most_bytes) : most_(most), most_bytes_(most_bytes) {}

  // Takes the session's next events, in their order. What follows once it is full is left for the next page.
  void add(const std::vector<store::Event>& events);

  bool is_full() const { return !open_ && (runs_.size() >= most_ || bytes_ >= most_bytes_); }

  // The task of the run that has begun and not ended, as far as was read; "" if there is none.
  std::string open_task() const { return open_ ? open_->task : ""; }

  // There are no further events: a run that has not ended runs, or was cut short.
  void end(bool is_running, Time now);

  std::uint64_t next() const { return next_; }  // where the next page begins, once it is full; else 0
  std::size_t bytes() const { return bytes_; }  // of the events that it holds

  std::string json() const;  // an array

 private:
  struct Open {
    std::string task;
    JsonObject told;  // as the newest event tells, but for the calls
    std::map<std::uint64_t, JsonObject> calls;
    Time start;
    Time seen;          // when that was
    std::size_t bytes;  // of its events
  };

  void take(const store::Event& event);
  void take_progress(const JsonObject& body, const JsonObject& data, std::size_t bytes);
  void close_open(std::string_view state, Time now);

  const std::size_t most_;
  const std::size_t most_bytes_;
  std::vector<JsonObject> runs_;
  std::optional<Open> open_;
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace sojourn::server
