#include "sojourn/store/gathering_file.hpp"

#include <new>
#include <vector>

namespace sojourn::store {

namespace {

// A larger commit is handed over in parts. SQLite's own VFS takes no more at once (seekAndWriteFd in os_unix.c).
constexpr std::size_t gathered_limit = 0x1FFFF;

struct GatheringFile : LayeredFile {
  std::vector<char>* gathered;  // owned; not yet handed over
  sqlite3_int64 start;          // where it goes

  int hand_over() {
    if (gathered->empty()) return SQLITE_OK;
    const int result =
        below()->pMethods->xWrite(below(), gathered->data(), static_cast<int>(gathered->size()), start);
    gathered->clear();
    return result;
  }

  bool continues(sqlite3_int64 offset, std::size_t size) const {
    return offset == start + static_cast<sqlite3_int64>(gathered->size()) &&
           gathered->size() + size <= gathered_limit;
  }
};
static_assert(sizeof(GatheringFile) <= LayeredFile::own_bytes);

GatheringFile& of(sqlite3_file* file) {
  return *static_cast<GatheringFile*>(file);
}

// Does `operation` on the file below once it holds what was gathered.
template <class Operation>
int after_hand_over(sqlite3_file* file, Operation operation) {
  const int result = of(file).hand_over();
  if (result != SQLITE_OK) return result;
  sqlite3_file* below = of(file).below();
  return operation(below, *below->pMethods);
}

int close(sqlite3_file* file) {
  const int handed_over = of(file).hand_over();
  delete of(file).gathered;
  const int closed = of(file).below()->pMethods->xClose(of(file).below());
  return handed_over != SQLITE_OK ? handed_over : closed;
}

int read(sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
  // The transaction must not go on without what is lost. Of a full disk SQLite may undo the one statement only.
  if (of(file).hand_over() != SQLITE_OK) return SQLITE_IOERR_READ;
  return after_hand_over(file, [&](sqlite3_file* below, const sqlite3_io_methods& methods) {
    return methods.xRead(below, into, size, offset);
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
      file, [&](sqlite3_file* below, const sqlite3_io_methods& methods) { return methods.xTruncate(below, size); });
}

int sync(sqlite3_file* file, int flags) {
  return after_hand_over(
      file, [&](sqlite3_file* below, const sqlite3_io_methods& methods) { return methods.xSync(below, flags); });
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return after_hand_over(
      file, [&](sqlite3_file* below, const sqlite3_io_methods& methods) { return methods.xFileSize(below, size); });
}

const sqlite3_io_methods& gathering_methods() {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods own = methods_of_below();
    own.xClose = close;
    own.xRead = read;
    own.xWrite = write;
    own.xTruncate = truncate;
    own.xSync = sync;
    own.xFileSize = file_size;
    return own;
  }();
  return methods;
}

}  // namespace

int open_gathering(sqlite3_vfs& below, const char* name, sqlite3_file* file, int flags, int* opened) {
  GatheringFile& log = of(file);
  log.gathered = new (std::nothrow) std::vector<char>();
  log.start = 0;
  if (log.gathered == nullptr) return SQLITE_NOMEM;
  const int result = below.xOpen(&below, name, log.below(), flags, opened);
  if (log.below()->pMethods != nullptr) {
    log.pMethods = &gathering_methods();
  } else {
    delete log.gathered;
  }
  return result;
}

}  // namespace sojourn::store
