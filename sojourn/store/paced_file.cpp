#include "sojourn/store/paced_file.hpp"

namespace sojourn::store {

namespace {

struct PacedFile : LayeredFile {
  sqlite3_int64 unsynced;  // bytes written since the last sync
};
static_assert(sizeof(PacedFile) <= LayeredFile::own_bytes);

PacedFile& of(sqlite3_file* file) {
  return *static_cast<PacedFile*>(file);
}

int sync(sqlite3_file* file, int flags) {
  of(file).unsynced = 0;
  sqlite3_file* below = of(file).below();
  return below->pMethods->xSync(below, flags);
}

int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  sqlite3_file* below = of(file).below();
  const int result = below->pMethods->xWrite(below, bytes, size, offset);
  of(file).unsynced += size;
  if (result != SQLITE_OK || of(file).unsynced < paced_bytes) return result;
  return sync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

const sqlite3_io_methods& paced_methods() {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods own = methods_of_below();
    own.xWrite = write;
    own.xSync = sync;
    return own;
  }();
  return methods;
}

}  // namespace

int open_paced(sqlite3_vfs& below, const char* name, sqlite3_file* file, int flags, int* opened) {
  PacedFile& database = of(file);
  database.unsynced = 0;
  const int result = below.xOpen(&below, name, database.below(), flags, opened);
  if (database.below()->pMethods != nullptr) database.pMethods = &paced_methods();
  return result;
}

}  // namespace sojourn::store
