#include "sojourn/store/refusals.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace sojourn::store {

Error session_exists(std::string_view id) {
  return Error(ErrorCode::already_exists, fmt::format("session '{}' exists already, or did before it was purged", id),
               {{"field", "id"}});
}

Error session_unknown(std::string_view id) {
  return Error(ErrorCode::session_not_found, fmt::format("session not found: {}", id));
}

Error session_fenced(const Commit& commit, std::uint64_t epoch) {
  return Error(
      ErrorCode::fenced,
      fmt::format("session '{}' has another owner now: epoch {}, not {}", commit.session_id, epoch, commit.epoch),
      {{"epoch", epoch}});
}

Error session_changed(const Commit& commit, std::uint64_t version) {
  return Error(ErrorCode::conflict,
               fmt::format("session '{}' is at version {}, not {}", commit.session_id, version, commit.version),
               {{"version", version}});
}

Error key_taken(const TaskRecord& task) {
  return Error(ErrorCode::already_exists, fmt::format("session '{}' has another task with the idempotency key '{}'",
                                                      task.session_id, task.idempotency_key));
}

Error opening_key_taken(std::string_view id) {
  return Error(ErrorCode::already_exists, fmt::format("session '{}' has an opening key that another has", id),
               {{"field", "opening_key"}});
}

Error task_elsewhere(const TaskRecord& task) {
  return Error(ErrorCode::already_exists, fmt::format("task '{}' belongs to another session", task.id));
}

Error store_closed() {
  return Error(ErrorCode::unavailable, "the store is closed");
}

Error store_lost(const std::filesystem::path& file) {
  return Error(
      ErrorCode::store_read_only,
      fmt::format("'{}' was removed or replaced while it is open, so nothing more is written: put it back as it "
                  "was, or start the server again",
                  file.string()));
}

Error cursor_unknown() {
  return Error(ErrorCode::invalid_request,
               "the cursor is none that a page of this list gave; leave it out to begin with the newest session");
}

void check_links(std::string_view session_id, const ChainHead& before, const std::vector<Event>& events,
                 const ChainHead& after) {
  std::uint64_t seq = before.seq;
  for (const Event& event : events) {
    if (event.seq != ++seq) {
      throw Error(ErrorCode::internal_error,
                  fmt::format("session '{}' cannot take event {}: the next one is {}", session_id, event.seq, seq));
    }
  }
  if (after.seq != seq || (!events.empty() && after.hash != events.back().hash)) {
    throw Error(ErrorCode::internal_error,
                fmt::format("session '{}' cannot take a head that is not its newest event {}", session_id, seq));
  }
}

Error file_refused(std::string_view verb, const std::filesystem::path& file, int error_number) {
  const std::string what = fmt::format("cannot {} '{}'", verb, file.string());
  switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
      return Error(ErrorCode::store_read_only,
                   fmt::format("{}: {}", what, std::generic_category().message(error_number)));
    case ENOSPC:
    case EDQUOT:
      return Error(ErrorCode::store_full, fmt::format("{}: {}", what, std::generic_category().message(error_number)));
    default:
      return io_error(what, error_number);
  }
}

}  // namespace sojourn::store
