#include "sojourn/steps/recorder.hpp"

#include <fmt/format.h>

#include <ostream>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::steps {

namespace {

void write_line(std::ostream& stream, const JsonObject& line) {
  try {
    stream << to_text(line) << '\n';
  } catch (const Error& error) {
    stream << to_text(JsonObject{{"level", "error"}, {"message", "a line was left out: " + error.message()}}) << '\n';
  }
}

// A line never fails for what it is about: of a field that JSON cannot hold, or only at length, it says why.
JsonObject loggable(const JsonObject& fields) {
  JsonObject shown;
  for (const auto& [key, value] : fields) {
    const std::string name = to_valid_utf8(key);
    try {
      to_text(value, {.bytes = Logger::most_field_bytes, .depth = 32});
      shown[name] = value;
    } catch (const Error& error) {
      shown[name] = "(left out: " + error.message() + ")";
    }
  }
  return shown;
}

}  // namespace

void LineRecorder::log(LogLevel level, std::string_view message, JsonObject fields) {
  fields["level"] = to_string(level);
  fields["message"] = message;
  write_line(stream_, fields);
}

void LineRecorder::step_finished(JsonObject record) {
  record["event"] = "algorithm.step";
  write_line(stream_, record);
}

void Logger::bind(Recorder* recorder, JsonObject ids) {
  recorder_ = recorder;
  ids_ = std::move(ids);
}

void Logger::write(LogLevel level, std::string_view message, JsonObject fields) {
  if (recorder_ == nullptr) return;
  for (const auto& [key, value] : ids_) fields[key] = value;
  recorder_->log(level, to_valid_utf8(message), loggable(fields));
}

void Diagnostics::publish(std::string_view key, Json value) {
  JsonObject next = items_;
  next[key] = std::move(value);
  try {
    to_text(next, {.bytes = most_bytes, .depth = 32});
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("diagnostics: {}", error.message()), error.details());
  }
  items_ = std::move(next);
}

}  // namespace sojourn::steps
