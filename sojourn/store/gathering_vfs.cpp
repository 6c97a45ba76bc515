#include "sojourn/store/gathering_vfs.hpp"

#include <sqlite3.h>

#include <cstddef>
#include <new>
#include <vector>

#include "sojourn/base/error.hpp"

namespace sojourn::store {

namespace {

// A larger commit is handed over in parts. SQLite's own VFS takes no more at once (seekAndWriteFd in os_unix.c).
constexpr std::size_t gathered_limit = 0x1FFFF;

constexpr const char* vfs_name = "sojourn-gathering";

// Room for a file of the VFS below, whichever is the default one when it is opened.
constexpr int room_below = 1'024;

sqlite3_vfs* below() {
  return sqlite3_vfs_find(nullptr);
}

// A log as SQLite sees it. The file of the VFS below stands behind it, in the same allocation (szOsFile).
struct GatheringFile : sqlite3_file {
  std::vector<char>* gathered;  // owned; not yet handed over
  sqlite3_int64 start;          // where it goes

  sqlite3_file* real();

  int hand_over() {
    if (gathered->empty()) return SQLITE_OK;
    const int result = real()->pMethods->xWrite(real(), gathered->data(), static_cast<int>(gathered->size()), start);
    gathered->clear();
    return result;
  }

  bool continues(sqlite3_int64 offset, std::size_t size) const {
    return offset == start + static_cast<sqlite3_int64>(gathered->size()) &&
           gathered->size() + size <= gathered_limit;
  }
};

// Where the file below begins: as aligned as any object may need.
constexpr std::size_t own_bytes =
    (sizeof(GatheringFile) + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) * alignof(std::max_align_t);

sqlite3_file* GatheringFile::real() {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(this) + own_bytes);
}

GatheringFile& of(sqlite3_file* file) {
  return *static_cast<GatheringFile*>(file);
}

// Does `operation` on the file below once it holds what was gathered.
template <class Operation>
int after_hand_over(sqlite3_file* file, Operation operation) {
  const int result = of(file).hand_over();
  if (result != SQLITE_OK) return result;
  sqlite3_file* real = of(file).real();
  return operation(real, *real->pMethods);
}

int close(sqlite3_file* file) {
  const int handed_over = of(file).hand_over();
  delete of(file).gathered;
  const int closed = of(file).real()->pMethods->xClose(of(file).real());
  return handed_over != SQLITE_OK ? handed_over : closed;
}

int read(sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
  // The transaction must not go on without what is lost. Of a full disk SQLite may undo the one statement only.
  if (of(file).hand_over() != SQLITE_OK) return SQLITE_IOERR_READ;
  return after_hand_over(file, [&](sqlite3_file* real, const sqlite3_io_methods& methods) {
    return methods.xRead(real, into, size, offset);
  });
}

int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  GatheringFile& log = of(file);
  if (!log.continues(offset, static_cast<std::size_t>(size))) {
    if (const int result = log.hand_over(); result != SQLITE_OK) return result;
    log.start = offset;
  }
  const char* first = static_cast<const char*>(bytes);
  try {
    log.gathered->insert(log.gathered->end(), first, first + size);
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  return SQLITE_OK;
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  return after_hand_over(
      file, [&](sqlite3_file* real, const sqlite3_io_methods& methods) { return methods.xTruncate(real, size); });
}

int sync(sqlite3_file* file, int flags) {
  return after_hand_over(
      file, [&](sqlite3_file* real, const sqlite3_io_methods& methods) { return methods.xSync(real, flags); });
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return after_hand_over(
      file, [&](sqlite3_file* real, const sqlite3_io_methods& methods) { return methods.xFileSize(real, size); });
}

int file_control(sqlite3_file* file, int operation, void* argument) {
  return of(file).real()->pMethods->xFileControl(of(file).real(), operation, argument);
}

int sector_size(sqlite3_file* file) {
  return of(file).real()->pMethods->xSectorSize(of(file).real());
}

int device_characteristics(sqlite3_file* file) {
  return of(file).real()->pMethods->xDeviceCharacteristics(of(file).real());
}

// Nobody locks a log or maps it: that is done to the database.
constexpr sqlite3_io_methods methods = [] {
  sqlite3_io_methods own{};
  own.iVersion = 1;
  own.xClose = close;
  own.xRead = read;
  own.xWrite = write;
  own.xTruncate = truncate;
  own.xSync = sync;
  own.xFileSize = file_size;
  own.xLock = [](sqlite3_file*, int) { return SQLITE_OK; };
  own.xUnlock = [](sqlite3_file*, int) { return SQLITE_OK; };
  own.xCheckReservedLock = [](sqlite3_file*, int* locked) {
    *locked = 0;
    return SQLITE_OK;
  };
  own.xFileControl = file_control;
  own.xSectorSize = sector_size;
  own.xDeviceCharacteristics = device_characteristics;
  return own;
}();

// Everything but a log is opened by the VFS below and never seen here again.
int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* opened) {
  sqlite3_vfs* vfs = below();
  file->pMethods = nullptr;  // SQLite closes what has methods
  if (vfs->szOsFile > room_below) return SQLITE_CANTOPEN;
  if ((flags & SQLITE_OPEN_WAL) == 0) return vfs->xOpen(vfs, name, file, flags, opened);
  GatheringFile& log = of(file);
  log.gathered = new (std::nothrow) std::vector<char>();
  log.start = 0;
  if (log.gathered == nullptr) return SQLITE_NOMEM;
  const int result = vfs->xOpen(vfs, name, log.real(), flags, opened);
  if (log.real()->pMethods != nullptr) {
    log.pMethods = &methods;
  } else {
    delete log.gathered;
  }
  return result;
}

sqlite3_vfs make_vfs() {
  if (below() == nullptr) throw Error(ErrorCode::unavailable, "SQLite cannot start: no memory is left");
  sqlite3_vfs own = *below();  // what is not said here does not look at the VFS it is called with
  own.zName = vfs_name;
  own.szOsFile = static_cast<int>(own_bytes) + room_below;
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

const char* gathering_vfs() {
  static sqlite3_vfs vfs = make_vfs();
  [[maybe_unused]] static const int registered = sqlite3_vfs_register(&vfs, 0);
  return vfs_name;
}

}  // namespace sojourn::store
