#include "sojourn/store/session_folder.hpp"

#include <fmt/format.h>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/durable_file.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

Json time_or_null(const std::optional<Time>& time) {
  return time ? Json(format_time(*time)) : Json(nullptr);
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace

fs::path SessionFolders::path_of(std::string_view session_id) const {
  if (!is_session_id(session_id)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'{}' is no session id and so has no folder", to_valid_utf8(session_id)));
  }
  const std::string_view date = session_id.substr(5, 8);
  return sessions_ / fmt::format("{}-{}-{}", date.substr(0, 4), date.substr(4, 2), date.substr(6, 2)) / session_id;
}

fs::path SessionFolders::create(std::string_view session_id) const {
  fs::path folder = path_of(session_id);
  make_folders(folder);
  return folder;
}

void SessionFolders::write_metadata(const SessionRecord& record) const {
  const fs::path folder = create(record.id);
  replace_file(folder / "session_metadata.json", metadata_of(record) + "\n");
  // Who made these folders may have died before it synced them; syncing what is on the disk costs nothing.
  const fs::path day = folder.parent_path();
  for (const fs::path& above : {day, sessions_, sessions_.parent_path()}) sync_folder(above);
}

JsonText metadata_of(const SessionRecord& record) {
  const SessionHead& head = record.head;
  // Sojourn's stage is what seed 001 calls the status.
  const JsonObject metadata = {
      {"session_id", record.id},
      {"created_at", format_time(record.created_at)},
      {"status", head.stage},
      {"user_id", text_or_null(record.user)},
      {"steps_completed", JsonArray()},
      {"timing", JsonObject()},
      {"sojourn",
       {{"app", text_or_null(record.app)},
        {"app_version", text_or_null(record.app_version)},
        {"status", to_string(head.status)},
        {"version", record.version},
        {"call_count", head.call_count},
        {"updated_at", format_time(head.updated_at)},
        {"ended_at", time_or_null(head.ended_at)},
        {"end_reason", text_or_null(head.end_reason)},
        {"events", head.chain.seq},
        {"last_hash", to_hex(head.chain.hash)}}},
  };
  return to_text(metadata);
}

}  // namespace sojourn::store
