#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/record.hpp"

// A session's folder in the data folder: sessions/2024-01-15/sess_20240115_103045_a1b2c3/.
//
// It is the worker's working folder and holds session_metadata.json and what the session's work leaves. The store is
// the truth; the folder is made when it is first needed, and the metadata can be written anew at any time. Source:
// seed 001, "Directory Structure Creation" and "Metadata Storage".
namespace sojourn::store {

// Threads: safe for different sessions. Everything but path_of blocks: call it on a BlockingPool.
class SessionFolders {
 public:
  // `sessions` is where they are kept instead of in the data folder; "" for there. `ending` is as of replace_file().
  explicit SessionFolders(const std::filesystem::path& data, const std::filesystem::path& sessions = {},
                          std::string ending = ".new");

  // The folder of that session, whether it exists or not; its date is the id's.
  // Errors: invalid_request for anything that is not shaped like a session id.
  std::filesystem::path path_of(std::string_view session_id) const;

  // Makes the folder, unless it exists, and returns its path.
  // Errors: invalid_request, store_read_only, store_full, io_error. Durable: when it returns.
  std::filesystem::path create(std::string_view session_id) const;

  // Makes the folder and its session_metadata.json where they are missing, and returns the folder's path.
  // Errors: those of create(). Durable: once sync() has returned.
  std::filesystem::path make(const SessionRecord& record) const;

  // Brings the folder and its session_metadata.json to the disk. Errors: those of create().
  void sync(std::string_view session_id) const;

  // Removes the folder with all that is in it; the folder of its day stays. No link in it is followed.
  // Errors: invalid_request, store_read_only, io_error; some of it may be gone then. Durable: when it returns.
  void remove(std::string_view session_id) const;

  // The days on which there are folders of sessions, and the ids of those of a day; without what cannot be looked at.
  std::vector<std::string> days() const;
  std::vector<std::string> ids_of(const std::string& day) const;

  // Of all files in all folders; without what cannot be looked at.
  std::uint64_t bytes() const;

  // Writes session_metadata.json, and the folder where it is missing; readers see the old file or the new one.
  // Errors: those of create(); the old file is still there then. Durable: when it returns.
  void write_metadata(const SessionRecord& record, const StepSummary& steps = {}) const;

  // Writes session_metadata.json where the folder is, and makes none: one that was purged meanwhile stays away.
  // Errors: as write_metadata(). Durable: when it returns.
  void renew_metadata(const SessionRecord& record, const StepSummary& steps) const;

 private:
  // What is known to be on the disk, so that it is synced once in a process.
  struct Synced {
    std::mutex mutex;
    std::filesystem::path day;  // the newest, with all that is above it
  };

  void sync_above(const std::filesystem::path& day) const;

  std::filesystem::path sessions_;
  std::string ending_;
  std::shared_ptr<Synced> synced_ = std::make_shared<Synced>();  // shared by copies
};

// The day of a session's id: "2024-01-15". Errors: invalid_request for anything that is not shaped like a session id.
std::string day_of(std::string_view session_id);

// Of all plain files in a folder and those below it; without what cannot be looked at. Blocks.
std::uint64_t bytes_in(const std::filesystem::path& folder);

// What session_metadata.json holds.
JsonText metadata_of(const SessionRecord& record, const StepSummary& steps = {});

// {"<step>_ms": N} in whole milliseconds, in the order in which the steps were first completed. Source: seed 001.
JsonObject timing_of(const StepSummary& steps);

// What a folder tells of its session's journal.
struct FolderNote {
  ChainHead head;  // of its metadata; seq 0 where there is none
  std::string
      complaint;  // why the metadata cannot be read, or is missing; "" for a folder that is empty or not there
};

// Blocks. Errors: none; what cannot be read is a complaint.
FolderNote read_folder(const SessionFolders& folders, std::string_view session_id);

}  // namespace sojourn::store
