#include "sojourn/store/durable_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <string>
#include <system_error>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

// A file or folder that is open.
class Opened {
 public:
  Opened(const fs::path& path, int flags, ::mode_t mode = 0644)
      : path_(path), file_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (!file_) throw file_refused("open", path_, errno);
  }

  void write(std::string_view text) {
    if (write_all(file_.get(), text) < text.size()) throw file_refused("write", path_, errno);
  }

  std::uint64_t size() const {
    struct stat found{};
    if (::fstat(file_.get(), &found) != 0) throw file_refused("read", path_, errno);
    return static_cast<std::uint64_t>(found.st_size);
  }

  void resize(std::uint64_t bytes) const {
    if (::ftruncate(file_.get(), static_cast<::off_t>(bytes)) != 0) throw file_refused("write", path_, errno);
  }

  void sync() {
    if (::fsync(file_.get()) != 0) throw file_refused("sync", path_, errno);
  }

 private:
  fs::path path_;
  Descriptor file_;
};

// "a" for "a/b" and for "a/b/"; "." for a name alone.
fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.has_filename() ? path.parent_path() : path.parent_path().parent_path();
  return parent.empty() ? "." : parent;
}

// Two that replace one file at once would each take what the other writes for what a write that broke off left.
std::mutex& turn_of(const fs::path& file) {
  static std::array<std::mutex, 64> turns;
  return turns[fs::hash_value(file) % turns.size()];
}

// Something else is in its way, or nothing can be made there.
Error folder_refused(const fs::path& folder, int reason) {
  const bool never = reason == EEXIST || reason == ENOTDIR || reason == ENOENT;
  const Error refused = file_refused("make", folder, reason == EEXIST ? ENOTDIR : reason);
  return never ? Error(ErrorCode::store_read_only, refused.message()) : refused;
}

// Gives the file its new content by a name of its own beside it.
void put(const fs::path& file, std::string_view content, std::string_view ending, bool synced) {
  fs::path fresh = file;
  fresh += ending;
  try {
    // Others may write to a session's folder: what they put there under that name is never written through.
    std::error_code error;
    if (fs::exists(fs::symlink_status(fresh, error)) && ::unlink(fresh.c_str()) != 0) {
      throw file_refused("replace", fresh, errno);
    }
    Opened out(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    out.write(content);
    if (synced) out.sync();
  } catch (...) {
    ::unlink(fresh.c_str());
    throw;
  }
  if (::rename(fresh.c_str(), file.c_str()) != 0) {
    const int error = errno;
    ::unlink(fresh.c_str());
    throw file_refused("replace", file, error);
  }
}

}  // namespace

void make_folders(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  const fs::path above = folder_of(folder);
  if (above != folder) make_folders(above);
  if (::mkdir(folder.c_str(), 0777) != 0) {
    const int reason = errno;
    // Another may have made it meanwhile.
    if (reason != EEXIST || !fs::is_directory(folder, error)) throw folder_refused(folder, reason);
  }
  sync_folder(above);
}

void sync_folder(const fs::path& folder) {
  Opened(folder, O_RDONLY | O_DIRECTORY).sync();
}

void make_file(const fs::path& file) {
  Opened(file, O_RDONLY | O_CREAT);
}

void lay_out(const fs::path& file, std::uint64_t bytes) {
  Opened opened(file, O_WRONLY | O_APPEND);
  const std::uint64_t before = opened.size();
  try {
    const std::string zeros(std::size_t{1} << 20, '\0');
    for (std::uint64_t size = before; size < bytes; size += zeros.size()) opened.write(zeros);
    opened.sync();
  } catch (const Error&) {
    opened.resize(before);
  }
}

void make_secret_file(const fs::path& file, std::string_view content) {
  fs::path fresh = file;
  fresh += ".new";
  ::unlink(fresh.c_str());
  try {
    Opened out(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    out.write(content);
    out.sync();
    // A link, which unlike a rename never replaces what is there.
    if (::link(fresh.c_str(), file.c_str()) != 0) {
      if (errno == EEXIST) throw Error(ErrorCode::already_exists, "there is a file " + file.string() + " already");
      throw file_refused("make", file, errno);
    }
  } catch (...) {
    ::unlink(fresh.c_str());
    throw;
  }
  ::unlink(fresh.c_str());
  sync_folder(folder_of(file));
}

std::optional<std::string> read_small_file(const fs::path& file, std::size_t most) {
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!opened && errno == ENOENT) return std::nullopt;
  if (!opened && errno == ELOOP) throw Error(ErrorCode::invalid_request, "'" + file.string() + "' is a link");
  if (!opened) throw file_refused("open", file, errno);
  struct stat found{};
  if (::fstat(opened.get(), &found) != 0) throw file_refused("read", file, errno);
  if (!S_ISREG(found.st_mode)) {
    throw Error(ErrorCode::invalid_request, "'" + file.string() + "' is no plain file");
  }
  std::string content(std::min(static_cast<std::size_t>(found.st_size), most) + 1, '\0');
  const std::optional<std::size_t> size = read_up_to(opened.get(), content);
  if (!size) throw file_refused("read", file, errno);
  if (*size == content.size()) {
    throw Error(ErrorCode::too_large, "'" + file.string() + "' has more than " + std::to_string(most) + " bytes");
  }
  content.resize(*size);
  return content;
}

void put_file(const fs::path& file, std::string_view content, std::string_view ending) {
  const std::lock_guard turn(turn_of(file));
  put(file, content, ending, false);
}

void sync_file(const fs::path& file) {
  // Whoever may write to its folder may have put something else there, which opening must not wait for.
  Opened(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).sync();
}

void replace_file(const fs::path& file, std::string_view content, std::string_view ending) {
  const std::lock_guard turn(turn_of(file));
  put(file, content, ending, true);
  sync_folder(folder_of(file));
}

}  // namespace sojourn::store
