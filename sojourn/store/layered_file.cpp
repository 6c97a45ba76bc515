#include "sojourn/store/layered_file.hpp"

namespace sojourn::store {

namespace {

// A method of SQLite's interface that calls the same one of the file below.
template <auto Method>
struct Below;

template <class Result, class... Arguments, Result (*sqlite3_io_methods::*Method)(sqlite3_file*, Arguments...)>
struct Below<Method> {
  static Result call(sqlite3_file* file, Arguments... arguments) {
    sqlite3_file* below = static_cast<LayeredFile*>(file)->below();
    return (below->pMethods->*Method)(below, arguments...);
  }
};

}  // namespace

sqlite3_io_methods methods_of_below() {
  sqlite3_io_methods methods{};
  methods.iVersion = 2;
  methods.xClose = Below<&sqlite3_io_methods::xClose>::call;
  methods.xRead = Below<&sqlite3_io_methods::xRead>::call;
  methods.xWrite = Below<&sqlite3_io_methods::xWrite>::call;
  methods.xTruncate = Below<&sqlite3_io_methods::xTruncate>::call;
  methods.xSync = Below<&sqlite3_io_methods::xSync>::call;
  methods.xFileSize = Below<&sqlite3_io_methods::xFileSize>::call;
  methods.xLock = Below<&sqlite3_io_methods::xLock>::call;
  methods.xUnlock = Below<&sqlite3_io_methods::xUnlock>::call;
  methods.xCheckReservedLock = Below<&sqlite3_io_methods::xCheckReservedLock>::call;
  methods.xFileControl = Below<&sqlite3_io_methods::xFileControl>::call;
  methods.xSectorSize = Below<&sqlite3_io_methods::xSectorSize>::call;
  methods.xDeviceCharacteristics = Below<&sqlite3_io_methods::xDeviceCharacteristics>::call;
  methods.xShmMap = Below<&sqlite3_io_methods::xShmMap>::call;
  methods.xShmLock = Below<&sqlite3_io_methods::xShmLock>::call;
  methods.xShmBarrier = Below<&sqlite3_io_methods::xShmBarrier>::call;
  methods.xShmUnmap = Below<&sqlite3_io_methods::xShmUnmap>::call;
  return methods;
}

}  // namespace sojourn::store
