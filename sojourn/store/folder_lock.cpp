#include "sojourn/store/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) throw file_refused("open", path, errno);
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  ::close(file_);
  if (error != EWOULDBLOCK) throw file_refused("lock", path, error);
  throw Error(ErrorCode::store_locked, fmt::format("another server uses the data folder '{}'", folder.string()),
              {{"folder", folder.string()}});
}

FolderLock::~FolderLock() {
  ::close(file_);
}

}  // namespace sojourn::store
