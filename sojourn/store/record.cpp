#include "sojourn/store/record.hpp"

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

std::string_view to_string(TaskStatus status) {
  constexpr std::string_view words[] = {"unknown",   "received",   "queued",   "dispatched", "preparing",
                                        "serving",   "setting_up", "running",  "cancelling", "uploading",
                                        "completed", "failed",     "cancelled"};
  return words[static_cast<std::size_t>(status)];
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
