#include "sojourn/store/session_folder.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <exception>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

Json time_or_null(const std::optional<Time>& time) {
  return time ? Json(format_time(*time)) : Json(nullptr);
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

constexpr const char* metadata_name = "session_metadata.json";
constexpr std::size_t metadata_bytes = 8 * limits::mebibyte;

ChainHead head_in(std::string_view metadata) {
  const JsonObject object = parse_json_object(metadata);
  const JsonObject& ours = object.at("sojourn").as_object();
  return {.seq = ours.at("events").to_number<std::uint64_t>(),
          .hash = hash_from_hex(std::string_view(ours.at("last_hash").as_string()))};
}

std::vector<std::string> folders_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator place(folder, error), end; !error && place != end; place.increment(error)) {
    std::error_code gone;
    if (place->symlink_status(gone).type() == fs::file_type::directory) names.push_back(place->path().filename());
  }
  return names;
}

// Without a sync where its day is there. Returns whether it was made there.
bool make_one(const fs::path& folder) {
  if (::mkdir(folder.c_str(), 0777) == 0) return true;
  make_folders(folder);
  return false;
}

// What is there besides what a write that broke off left behind.
bool holds_nothing(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".new") return false;
  }
  return !error;
}

}  // namespace

std::string day_of(std::string_view session_id) {
  if (!is_session_id(session_id)) {
    throw Error(ErrorCode::invalid_request,
                fmt::format("'{}' is no session id and so has no folder", to_valid_utf8(session_id)));
  }
  const std::string_view date = session_id.substr(5, 8);
  return fmt::format("{}-{}-{}", date.substr(0, 4), date.substr(4, 2), date.substr(6, 2));
}

SessionFolders::SessionFolders(const fs::path& data, const fs::path& sessions, std::string ending)
    : sessions_(sessions.empty() ? data / "sessions" : sessions), ending_(std::move(ending)) {}

fs::path SessionFolders::path_of(std::string_view session_id) const {
  return sessions_ / day_of(session_id) / session_id;
}

fs::path SessionFolders::create(std::string_view session_id) const {
  fs::path folder = path_of(session_id);
  make_folders(folder);
  return folder;
}

fs::path SessionFolders::make(const SessionRecord& record) const {
  fs::path folder = path_of(record.id);
  const bool is_new = make_one(folder);
  // Where it is there it has the steps too.
  if (is_new || read_folder(*this, record.id).head.seq == 0) {
    put_file(folder / metadata_name, metadata_of(record) + "\n", ending_);
  }
  return folder;
}

void SessionFolders::sync(std::string_view session_id) const {
  const fs::path folder = path_of(session_id);
  sync_above(folder.parent_path());
  // A worker may have emptied its folder since.
  std::error_code error;
  if (fs::exists(fs::symlink_status(folder / metadata_name, error))) sync_file(folder / metadata_name);
  sync_folder(folder);
  sync_folder(folder.parent_path());
}

void SessionFolders::remove(std::string_view session_id) const {
  const fs::path folder = path_of(session_id);
  std::error_code error;
  const std::uintmax_t removed = fs::remove_all(folder, error);
  if (error) throw file_refused("remove", folder, error.value());
  if (removed > 0) sync_folder(folder.parent_path());
}

std::vector<std::string> SessionFolders::days() const {
  return folders_in(sessions_);
}

std::vector<std::string> SessionFolders::ids_of(const std::string& day) const {
  std::vector<std::string> ids = folders_in(sessions_ / day);
  std::erase_if(ids, [&](const std::string& id) { return !is_session_id(id) || day_of(id) != day; });
  return ids;
}

std::uint64_t SessionFolders::bytes() const {
  return bytes_in(sessions_);
}

// Folder by folder, since workers remove theirs meanwhile and a recursive_directory_iterator ends at one that is
// gone.
std::uint64_t bytes_in(const fs::path& top) {
  std::uint64_t bytes = 0;
  std::vector<fs::path> folders{top};
  while (!folders.empty()) {
    const fs::path folder = std::move(folders.back());
    folders.pop_back();
    std::error_code error;
    for (fs::directory_iterator place(folder, error), end; !error && place != end; place.increment(error)) {
      std::error_code gone;
      const fs::file_type type = place->symlink_status(gone).type();
      if (type == fs::file_type::directory) folders.push_back(place->path());
      if (type != fs::file_type::regular) continue;
      const std::uintmax_t size = place->file_size(gone);
      if (!gone) bytes += size;
    }
  }
  return bytes;
}

void SessionFolders::write_metadata(const SessionRecord& record, const StepSummary& steps) const {
  const fs::path folder = path_of(record.id);
  const fs::path day = folder.parent_path();
  sync_above(day);
  // Without a sync of its own: what is below comes first, and is nothing without it.
  make_one(folder);
  replace_file(folder / metadata_name, metadata_of(record, steps) + "\n", ending_);
  // Also where it was there: who made it may have died before it synced it.
  sync_folder(day);
}

// A server writes metadata before each session's first answer, and a sync costs as much where nothing is left to do.
void SessionFolders::sync_above(const fs::path& day) const {
  {
    const std::lock_guard lock(synced_->mutex);
    if (synced_->day == day) return;
  }
  make_folders(day);
  const fs::path top = sessions_.parent_path();
  for (const fs::path& above : {sessions_, top.empty() ? fs::path(".") : top}) sync_folder(above);
  const std::lock_guard lock(synced_->mutex);
  synced_->day = day;
}

JsonObject timing_of(const StepSummary& steps) {
  JsonObject timing;
  for (const std::string& name : steps.completed) {
    timing[name + "_ms"] = std::chrono::round<Milliseconds>(steps.timing.at(name)).count();
  }
  return timing;
}

void SessionFolders::renew_metadata(const SessionRecord& record, const StepSummary& steps) const {
  const fs::path folder = path_of(record.id);
  const auto is_there = [&] {
    std::error_code error;
    return fs::is_directory(fs::symlink_status(folder, error));
  };
  if (!is_there()) return;
  try {
    replace_file(folder / metadata_name, metadata_of(record, steps) + "\n", ending_);
  } catch (const Error&) {
    if (is_there()) throw;
  }
}

JsonText metadata_of(const SessionRecord& record, const StepSummary& steps) {
  const SessionHead& head = record.head;
  // Sojourn's stage is what seed 001 calls the status.
  const JsonObject metadata = {
      {"session_id", record.id},
      {"created_at", format_time(record.created_at)},
      {"status", head.stage},
      {"user_id", text_or_null(record.user)},
      {"steps_completed", JsonArray(steps.completed.begin(), steps.completed.end())},
      {"timing", timing_of(steps)},
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
        {"last_hash", to_hex(head.chain.hash)},
        {"signature", text_or_null(head.signature)}}},
  };
  return to_text(metadata);
}

FolderNote read_folder(const SessionFolders& folders, std::string_view session_id) {
  FolderNote note;
  std::error_code error;
  if (!is_session_id(session_id)) return note;
  const fs::path folder = folders.path_of(session_id);
  if (!fs::is_directory(fs::symlink_status(folder, error))) return note;
  try {
    const std::optional<std::string> metadata = read_small_file(folder / metadata_name, metadata_bytes);
    if (metadata) {
      note.head = head_in(*metadata);
    } else if (!holds_nothing(folder)) {
      note.complaint = fmt::format("the session's folder has no {}", metadata_name);
    }
  } catch (const std::exception& broken) {
    note.complaint = fmt::format("{} cannot be read: {}", metadata_name, to_valid_utf8(broken.what()));
  }
  return note;
}

}  // namespace sojourn::store
