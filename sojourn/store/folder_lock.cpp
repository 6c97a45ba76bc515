#include "sojourn/store/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "sojourn/base/error.hpp"

namespace sojourn::store {

namespace {

[[noreturn]] void fail(const std::filesystem::path& file, int error) {
  const std::string reason = std::generic_category().message(error);
  if (error == EACCES || error == EROFS || error == EPERM) {
    throw Error(ErrorCode::store_read_only,
                fmt::format("the data folder '{}' cannot be written: {}", file.parent_path().string(), reason));
  }
  if (error == ENOSPC || error == EDQUOT) {
    throw Error(ErrorCode::store_full, fmt::format("'{}' cannot be made: {}", file.string(), reason));
  }
  throw io_error(fmt::format("cannot open '{}'", file.string()), error);
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) fail(path, errno);
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  ::close(file_);
  if (error != EWOULDBLOCK) throw io_error(fmt::format("cannot lock '{}'", path.string()), error);
  throw Error(ErrorCode::store_locked, fmt::format("another server uses the data folder '{}'", folder.string()),
              {{"folder", folder.string()}});
}

FolderLock::~FolderLock() {
  ::close(file_);
}

}  // namespace sojourn::store
