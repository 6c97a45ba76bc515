#include "sojourn/store/session_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/ids.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

// A file or folder that is open.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : path_(path), number_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (number_ < 0) throw file_refused("open", path_, errno);
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write(std::string_view text) {
    while (!text.empty()) {
      const ::ssize_t written = ::write(number_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw file_refused("write", path_, errno);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void sync() {
    if (::fsync(number_) != 0) throw file_refused("sync", path_, errno);
  }

 private:
  fs::path path_;
  int number_;
};

void replace_file(const fs::path& file, std::string_view text) {
  fs::path fresh = file;
  fresh += ".new";
  try {
    Descriptor out(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    out.write(text);
    out.sync();
  } catch (...) {
    ::unlink(fresh.c_str());
    throw;
  }
  if (::rename(fresh.c_str(), file.c_str()) != 0) {
    const int error = errno;
    ::unlink(fresh.c_str());
    throw file_refused("replace", file, error);
  }
  Descriptor(file.parent_path(), O_RDONLY | O_DIRECTORY).sync();
}

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
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw file_refused("make", folder, error.value());
  return folder;
}

void SessionFolders::write_metadata(const SessionRecord& record) const {
  replace_file(create(record.id) / "session_metadata.json", metadata_of(record) + "\n");
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
