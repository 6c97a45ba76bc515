#include "sojourn/flow/flow_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sojourn/base/error.hpp"

namespace sojourn::flow {

namespace {

constexpr auto above_all = static_cast<LogLevel>(static_cast<int>(LogLevel::error) + 1);

LogLevel threshold(LoggingSetting setting) {
  switch (setting) {
    case LoggingSetting::verbose:
      return LogLevel::debug;
    case LoggingSetting::regular:
      return LogLevel::info;
    case LoggingSetting::quiet:
      return LogLevel::warning;
    case LoggingSetting::none:
      break;
  }
  return above_all;
}

// What cannot be written has no other place to go.
void put(int file, const std::string& line) noexcept {
  [[maybe_unused]] const ssize_t written = ::write(file, line.data(), line.size());
}

}  // namespace

FlowLog::FlowLog(LoggingSetting setting, const std::optional<std::filesystem::path>& file)
    : console_(threshold(setting)) {
  if (!file) return;
  file_ = ::open(file->c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) throw io_error(fmt::format("log_file {}", file->string()), errno);
}

FlowLog::~FlowLog() {
  if (file_ >= 0) ::close(file_);
}

void FlowLog::write(Time now, LogLevel level, std::string_view message, const JsonObject& fields) const noexcept {
  if (!is_on(level)) return;
  try {
    std::string line = fmt::format("{} {:<7} {}", format_time(now), to_string(level), to_valid_utf8(message));
    if (!fields.empty()) {
      line += ' ';
      append_json(line, fields);
    }
    for (char& c : line) {
      if (c == '\n' || c == '\r') c = ' ';
    }
    line += '\n';
    if (level >= console_) put(STDERR_FILENO, line);
    if (file_ >= 0 && level >= LogLevel::info) put(file_, line);
  } catch (const std::exception&) {
    put(STDERR_FILENO, "a log line could not be written\n");
  }
}

}  // namespace sojourn::flow
