#include "sojourn/store/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

// A server killed at the moment when it starts its supervisor leaves a child that holds the lock until it is that.
constexpr std::chrono::milliseconds patience{1'000};

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) throw file_refused("open", path, errno);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  int error = 0;
  while (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    error = errno;
    if (error != EWOULDBLOCK || std::chrono::steady_clock::now() > deadline) break;
    error = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (error == 0) return;
  ::close(file_);
  if (error != EWOULDBLOCK) throw file_refused("lock", path, error);
  throw Error(ErrorCode::store_locked,
              fmt::format("'{}' is taken: stop the server that runs on it, or choose another", folder.string()),
              {{"folder", folder.string()}});
}

FolderLock::~FolderLock() {
  ::close(file_);
}

}  // namespace sojourn::store
