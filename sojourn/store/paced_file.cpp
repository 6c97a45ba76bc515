#include "sojourn/store/paced_file.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <new>
#include <string>

namespace sojourn::store {

namespace {

// What all files of one database share, from the first that is opened to the last that is closed.
struct Database {
  int files = 0;
  std::atomic<bool> sync_failed = false;
};

struct Databases {
  std::mutex mutex;
  std::map<std::string, Database> by_name;
};
using NamedDatabase = decltype(Databases::by_name)::value_type;

Databases& databases() {
  static Databases all;
  return all;
}

NamedDatabase* join(const char* name) {
  const std::lock_guard lock(databases().mutex);
  NamedDatabase& database = *databases().by_name.try_emplace(name).first;
  ++database.second.files;
  return &database;
}

void leave(NamedDatabase& database) {
  const std::lock_guard lock(databases().mutex);
  if (--database.second.files == 0) databases().by_name.erase(databases().by_name.find(database.first));
}

struct PacedFile : LayeredFile {
  sqlite3_int64 unsynced;  // bytes written since the last sync
  NamedDatabase* database;

  std::atomic<bool>& sync_failed() { return database->second.sync_failed; }
};
static_assert(sizeof(PacedFile) <= LayeredFile::own_bytes);

PacedFile& of(sqlite3_file* file) {
  return *static_cast<PacedFile*>(file);
}

int close(sqlite3_file* file) {
  sqlite3_file* below = of(file).below();
  const int result = below->pMethods->xClose(below);
  leave(*of(file).database);
  return result;
}

int sync(sqlite3_file* file, int flags) {
  if (of(file).sync_failed()) return SQLITE_IOERR_FSYNC;
  of(file).unsynced = 0;
  sqlite3_file* below = of(file).below();
  const int result = below->pMethods->xSync(below, flags);
  if (result != SQLITE_OK) of(file).sync_failed() = true;
  return result;
}

int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  if (of(file).sync_failed()) return SQLITE_IOERR_WRITE;
  sqlite3_file* below = of(file).below();
  const int result = below->pMethods->xWrite(below, bytes, size, offset);
  of(file).unsynced += size;
  if (result != SQLITE_OK || of(file).unsynced < paced_bytes) return result;
  return sync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

const sqlite3_io_methods& paced_methods() {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods own = methods_of_below();
    own.xClose = close;
    own.xWrite = write;
    own.xSync = sync;
    return own;
  }();
  return methods;
}

}  // namespace

int open_paced(sqlite3_vfs& below, const char* name, sqlite3_file* file, int flags, int* opened) {
  PacedFile& paced = of(file);
  paced.unsynced = 0;
  try {
    paced.database = join(name);
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
  const int result = below.xOpen(&below, name, paced.below(), flags, opened);
  if (paced.below()->pMethods != nullptr) {
    paced.pMethods = &paced_methods();
  } else {
    leave(*paced.database);
  }
  return result;
}

bool sync_has_failed(const char* name) {
  const std::lock_guard lock(databases().mutex);
  const auto found = databases().by_name.find(name);
  return found != databases().by_name.end() && found->second.sync_failed;
}

}  // namespace sojourn::store
