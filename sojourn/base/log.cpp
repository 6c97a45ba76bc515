#include "sojourn/base/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"

namespace sojourn {

struct Log::State {
  LogFormat format;
  spdlog::logger logger;
};

namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// `text` on one line: who can put a line break into it must not write lines of their own.
std::string one_line(std::string_view text) {
  std::string line = to_valid_utf8(text);
  std::ranges::replace_if(line, [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; }, ' ');
  return line;
}

// Nothing for a value that is no JSON.
std::optional<std::string> text_of(const Json& value) {
  try {
    return to_text(value);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string text_line(LogLevel level, std::string_view message, const JsonObject& fields) {
  std::string line = format_time(SystemClock().now());
  line.append(" ").append(to_string(level));
  line.append(level == LogLevel::info ? "    " : level == LogLevel::warning ? " " : "   ");
  line.append(one_line(message));
  for (const auto& [key, value] : fields) {
    if (const auto text = text_of(value)) line.append("  ").append(one_line(key)).append("=").append(*text);
  }
  return line;
}

std::string json_line(LogLevel level, std::string_view message, const JsonObject& fields) {
  JsonObject line{
      {"time", format_time(SystemClock().now())}, {"level", to_string(level)}, {"message", to_valid_utf8(message)}};
  for (const auto& [key, value] : fields) {
    if (is_valid_utf8(key) && text_of(value)) line.emplace(key, value);
  }
  return to_text(line);
}

}  // namespace

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

std::optional<LogLevel> parse_log_level(std::string_view word) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    if (word == to_string(level)) return level;
  }
  return std::nullopt;
}

Log::Log(LogLevel threshold, LogFormat format)
    : state_(new State{format, spdlog::logger("sojourn", std::make_shared<spdlog::sinks::stderr_sink_mt>())}) {
  state_->logger.set_pattern("%v");
  state_->logger.set_level(level_of(threshold));
}

Log::~Log() = default;
Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;

Log Log::silent() {
  Log log;
  log.state_.reset();
  return log;
}

void Log::write(LogLevel level, std::string_view message, const JsonObject& fields) const noexcept {
  if (!state_ || !state_->logger.should_log(level_of(level))) return;
  try {
    state_->logger.log(level_of(level), state_->format == LogFormat::json ? json_line(level, message, fields)
                                                                          : text_line(level, message, fields));
  } catch (const std::exception&) {
    // A line that cannot be written must not stop the work it tells of.
    state_->logger.log(level_of(level), "a log line could not be written");
  }
}

void Log::debug(std::string_view message, const JsonObject& fields) const noexcept {
  write(LogLevel::debug, message, fields);
}
void Log::info(std::string_view message, const JsonObject& fields) const noexcept {
  write(LogLevel::info, message, fields);
}
void Log::warning(std::string_view message, const JsonObject& fields) const noexcept {
  write(LogLevel::warning, message, fields);
}
void Log::error(std::string_view message, const JsonObject& fields) const noexcept {
  write(LogLevel::error, message, fields);
}

}  // namespace sojourn
