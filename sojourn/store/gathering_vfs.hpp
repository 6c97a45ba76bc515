#pragma once

// A SQLite VFS over the default one that gathers what is appended to a write-ahead log and hands it over at the sync.
//
// SQLite writes each page of a commit by two system calls, header and content; a commit of thirty sessions made 150
// of them. What is gathered is handed over, in order, before anything else is asked of the log: a sync, a read, its
// size, a write elsewhere. So the file holds the same bytes whenever somebody can rely on them, and a failure to
// write is reported by the call that needed the bytes to be there.
namespace sojourn::store {

// The name to open a database by. Registers the VFS when first asked.
// Errors: unavailable where SQLite has no memory to start. Threads: any.
const char* gathering_vfs();

}  // namespace sojourn::store
