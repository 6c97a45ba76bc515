#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/flow/settings.hpp"

// What a flow session tells people while it runs: lines on standard error, by its logging setting, and in its log
// file, which has everything from info on.
namespace sojourn::flow {

class FlowLog {
 public:
  // Errors: io_error for a file that cannot be opened for appending.
  FlowLog(LoggingSetting setting, const std::optional<std::filesystem::path>& file);
  ~FlowLog();
  FlowLog(const FlowLog&) = delete;
  FlowLog& operator=(const FlowLog&) = delete;

  // Whether a line of that level goes anywhere.
  bool is_on(LogLevel level) const noexcept { return level >= console_ || (file_ >= 0 && level >= LogLevel::info); }

  // One line. Never throws. Threads: safe; lines are written whole.
  void write(Time now, LogLevel level, std::string_view message, const JsonObject& fields = {}) const noexcept;

 private:
  LogLevel console_;
  int file_ = -1;
};

}  // namespace sojourn::flow
