#pragma once

#include <filesystem>

namespace sojourn::store {

// That one process at most writes to a data folder: `lock` in it, held by flock(2) and so released by any death.
class FolderLock {
 public:
  // Errors: store_locked when another holds it, and goes on holding it for a second; store_read_only, store_full,
  // io_error.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

}  // namespace sojourn::store
