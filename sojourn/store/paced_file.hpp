#pragma once

#include "sojourn/store/layered_file.hpp"

// A database that is synced every few pages while the log is folded into it, and that is left alone once a sync
// failed.
//
// SQLite writes all pages of a checkpoint and syncs them at the end: thousands of pages are then on their way to the
// disk at once, and the sync of a commit waits behind them for several milliseconds. Synced in small parts they
// take as long in all, and a commit waits for one part. In between the database holds some of the log's pages and the
// log all of them, as in any checkpoint that a crash cuts short.
//
// After a sync that failed nobody knows which pages are on the disk, and the next sync does not say it again. SQLite
// counts pages of a checkpoint as folded that a later one syncs, so it would not write them again, and would begin
// the log anew that alone holds them. So no file of this process writes or syncs such a database any more: the log is
// kept, and whoever opens the database next folds all of it.
namespace sojourn::store {

// Bytes that are written between two syncs. 64 pages: with 16 or 256 a commit waits longer
// (docs/internals/performance.md).
inline constexpr sqlite3_int64 paced_bytes = 256 * 1'024;

// xOpen of a VFS, for a file of `below`.
int open_paced(sqlite3_vfs& below, const char* name, sqlite3_file* file, int flags, int* opened);

// Whether a sync of the open database of this name failed; it is the one that open_paced() got. Threads: safe.
bool sync_has_failed(const char* name);

}  // namespace sojourn::store
