#include "sojourn/store/layered_vfs.hpp"

#include <sqlite3.h>

#include "sojourn/base/error.hpp"
#include "sojourn/store/gathering_file.hpp"
#include "sojourn/store/paced_file.hpp"

namespace sojourn::store {

namespace {

constexpr const char* vfs_name = "sojourn-layered";

// Room for a file of the VFS below, whichever is the default one when it is opened.
constexpr int room_below = 1'024;

sqlite3_vfs* below() {
  return sqlite3_vfs_find(nullptr);
}

int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* opened) {
  sqlite3_vfs* vfs = below();
  file->pMethods = nullptr;  // SQLite closes what has methods
  if (vfs->szOsFile > room_below) return SQLITE_CANTOPEN;
  if ((flags & SQLITE_OPEN_WAL) != 0) return open_gathering(*vfs, name, file, flags, opened);
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0) return open_paced(*vfs, name, file, flags, opened);
  return vfs->xOpen(vfs, name, file, flags, opened);
}

sqlite3_vfs make_vfs() {
  if (below() == nullptr) throw Error(ErrorCode::unavailable, "SQLite cannot start: no memory is left");
  sqlite3_vfs own = *below();  // what is not said here does not look at the VFS it is called with
  own.zName = vfs_name;
  own.szOsFile = LayeredFile::own_bytes + room_below;
  own.pNext = nullptr;
  own.xOpen = open;
  own.xDelete = [](sqlite3_vfs*, const char* name, int sync_folder) {
    return below()->xDelete(below(), name, sync_folder);
  };
  own.xAccess = [](sqlite3_vfs*, const char* name, int flags, int* answer) {
    return below()->xAccess(below(), name, flags, answer);
  };
  own.xFullPathname = [](sqlite3_vfs*, const char* name, int size, char* full) {
    return below()->xFullPathname(below(), name, size, full);
  };
  return own;
}

}  // namespace

const char* layered_vfs() {
  static sqlite3_vfs vfs = make_vfs();
  [[maybe_unused]] static const int registered = sqlite3_vfs_register(&vfs, 0);
  return vfs_name;
}

}  // namespace sojourn::store
