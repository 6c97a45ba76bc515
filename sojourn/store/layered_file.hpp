#pragma once

#include <sqlite3.h>

#include <cstddef>

// What the files of the layered VFS share: each stands before a file of the VFS below, in the same allocation.
namespace sojourn::store {

struct LayeredFile : sqlite3_file {
  // From its own beginning to that of the file below: as aligned as any object may need.
  static constexpr int own_bytes = 4 * static_cast<int>(alignof(std::max_align_t));

  sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(this) + own_bytes); }
};

// Methods that do what the file below does. Without xFetch: no database is read through a map of its file.
sqlite3_io_methods methods_of_below();

}  // namespace sojourn::store
