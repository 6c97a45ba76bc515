#pragma once

#include <sqlite3.h>

#include <atomic>

namespace sojourn::store {

// While it lives, databases that are opened can be made to fail, as a broken disk would.
// Threads: one at a time in a program.
class FaultVfs {
 public:
  FaultVfs() {
    failing() = false;
    real() = sqlite3_vfs_find(nullptr);
    vfs_ = *real();
    vfs_.zName = "sojourn-faults";
    vfs_.xOpen = open;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FaultVfs() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real(), 1);
  }
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  void fail_syncs(bool fail) const { failing() = fail; }

 private:
  static std::atomic<bool>& failing() {
    static std::atomic<bool> value = false;
    return value;
  }
  static sqlite3_vfs*& real() {
    static sqlite3_vfs* value = nullptr;
    return value;
  }
  static const sqlite3_io_methods*& real_methods() {
    static const sqlite3_io_methods* value = nullptr;
    return value;
  }

  static int sync(sqlite3_file* file, int flags) {
    return failing() ? SQLITE_IOERR_FSYNC : real_methods()->xSync(file, flags);
  }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* opened) {
    const int result = real()->xOpen(real(), name, file, flags, opened);
    if (result != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0) return result;
    // All logs of one kind share their methods.
    static sqlite3_io_methods methods = [&] {
      real_methods() = file->pMethods;
      sqlite3_io_methods copy = *file->pMethods;
      copy.xSync = sync;
      return copy;
    }();
    file->pMethods = &methods;
    return result;
  }

  sqlite3_vfs vfs_{};
};

}  // namespace sojourn::store
