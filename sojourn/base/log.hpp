#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "sojourn/base/json.hpp"

// The server's own log, for operators: one line an event on standard error. What belongs to a session goes to its
// journal instead.
namespace sojourn {

enum class LogLevel { debug, info, warning, error };
enum class LogFormat { text, json };

// "debug", "info", "warning", "error": the words of settings, of the worker protocol and of the journal.
std::string_view to_string(LogLevel level);
std::optional<LogLevel> parse_log_level(std::string_view word);

class Log {
 public:
  explicit Log(LogLevel threshold = LogLevel::info, LogFormat format = LogFormat::text);
  ~Log();

  // A log that drops everything, for tests.
  static Log silent();

  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;

  // Writes `message` and `fields` (values that are no JSON are left out). Never throws. Threads: safe.
  void write(LogLevel level, std::string_view message, const JsonObject& fields = {}) const noexcept;

  void debug(std::string_view message, const JsonObject& fields = {}) const noexcept;
  void info(std::string_view message, const JsonObject& fields = {}) const noexcept;
  void warning(std::string_view message, const JsonObject& fields = {}) const noexcept;
  void error(std::string_view message, const JsonObject& fields = {}) const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;  // null for a silent log
};

}  // namespace sojourn
