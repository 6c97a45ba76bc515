#pragma once

#include <iosfwd>
#include <string>

#include "sojourn/base/json.hpp"
#include "sojourn/base/log.hpp"

// What an algorithm says while it works, and where it goes: the session's journal where it is served, else a stream.
namespace sojourn::steps {

// Where a runner tells what happened. Threads: that of the algorithm.
class Recorder {
 public:
  virtual ~Recorder() = default;

  virtual void log(LogLevel level, std::string_view message, JsonObject fields) = 0;

  // A step is over; `record` has its index, status, latency and diagnostics.
  virtual void step_finished(JsonObject record) = 0;
};

// Writes one line of JSON for each. What JSON cannot hold is left out.
class LineRecorder final : public Recorder {
 public:
  explicit LineRecorder(std::ostream& stream) : stream_(stream) {}

  void log(LogLevel level, std::string_view message, JsonObject fields) override;
  void step_finished(JsonObject record) override;

 private:
  std::ostream& stream_;
};

// An algorithm's structured log. Each line has the ids of the session, the step and the trace, which no field of the
// algorithm's own can replace; of a field that JSON cannot hold, or that is longer than most_field_bytes, it says why
// it is left out. Without a runner it says nothing.
class Logger {
 public:
  static constexpr std::size_t most_field_bytes = 64 * 1024;

  void debug(std::string_view message, JsonObject fields = {}) { write(LogLevel::debug, message, std::move(fields)); }
  void info(std::string_view message, JsonObject fields = {}) { write(LogLevel::info, message, std::move(fields)); }
  void warning(std::string_view message, JsonObject fields = {}) {
    write(LogLevel::warning, message, std::move(fields));
  }
  void error(std::string_view message, JsonObject fields = {}) { write(LogLevel::error, message, std::move(fields)); }

  // What each line has from now on; the runner's to call. `recorder` may be null.
  void bind(Recorder* recorder, JsonObject ids);

 private:
  void write(LogLevel level, std::string_view message, JsonObject fields);

  Recorder* recorder_ = nullptr;
  JsonObject ids_;
};

// What an algorithm wants known of a step beside its result. It goes into the step's record, and starts empty with
// each step.
class Diagnostics {
 public:
  static constexpr std::size_t most_bytes = 64 * 1024;

  // Errors: not_serializable and too_large (details: "pointer"); nothing is changed then.
  void publish(std::string_view key, Json value);
  const JsonObject& get() const { return items_; }
  void clear() { items_.clear(); }

 private:
  JsonObject items_;
};

}  // namespace sojourn::steps
