#include "sojourn/store/record.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn::store {

std::string_view to_string(SessionStatus status) {
  switch (status) {
    case SessionStatus::active:
      return "active";
    case SessionStatus::ended:
      return "ended";
    case SessionStatus::expired:
      return "expired";
    case SessionStatus::failed:
      return "failed";
  }
  return "failed";
}

std::string_view to_string(StepStatus status) {
  switch (status) {
    case StepStatus::running:
      return "running";
    case StepStatus::completed:
      return "completed";
    default:
      return "failed";
  }
}

void StepSummary::add(const std::string& name, Microseconds duration) {
  if (timing.insert_or_assign(name, duration).second) completed.push_back(name);
}

std::string_view to_string(TaskStatus status) {
  constexpr std::string_view words[] = {"unknown",   "received",   "queued",   "dispatched", "preparing",
                                        "serving",   "setting_up", "running",  "cancelling", "uploading",
                                        "completed", "failed",     "cancelled"};
  return words[static_cast<std::size_t>(status)];
}

void Usage::add(const Usage& more) {
  call_time += more.call_time;
  worker_time += more.worker_time;
  cpu_time += more.cpu_time;
  peak_memory = std::max(peak_memory, more.peak_memory);
  bytes_in += more.bytes_in;
  bytes_out += more.bytes_out;
}

JsonText usage_text(const SessionHead& head) {
  const auto ms = [](Microseconds time) { return std::chrono::duration_cast<Milliseconds>(time).count(); };
  const Usage& usage = head.usage;
  return fmt::format(
      R"({{"calls":{},"call_ms":{},"worker_ms":{},"cpu_ms":{},"peak_memory_bytes":{},"bytes_in":{},"bytes_out":{}}})",
      head.call_count, ms(usage.call_time), ms(usage.worker_time), ms(usage.cpu_time), usage.peak_memory,
      usage.bytes_in, usage.bytes_out);
}

Hash chain_start(std::string_view session_id) {
  std::string text = "sojourn journal 1\n";
  text += session_id;
  return sha256(text);
}

Hash chain_hash(const Hash& previous, std::string_view body) {
  return sha256(previous, body);
}

}  // namespace sojourn::store
