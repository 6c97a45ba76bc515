#pragma once

#include "sojourn/store/layered_file.hpp"

// A write-ahead log that gathers what is appended and hands it over at the sync.
//
// SQLite writes each page of a commit by two system calls, header and content; a commit of thirty sessions made 150
// of them. What is gathered is handed over, in order, before anything else is asked of the log: a sync, a read, its
// size, a write elsewhere. So the file holds the same bytes whenever somebody can rely on them, and a failure to
// write is reported by the call that needed the bytes to be there.
namespace sojourn::store {

// xOpen of a VFS, for a file of `below`.
int open_gathering(sqlite3_vfs& below, const char* name, sqlite3_file* file, int flags, int* opened);

}  // namespace sojourn::store
