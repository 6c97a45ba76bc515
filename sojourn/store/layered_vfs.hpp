#pragma once

// A SQLite VFS over the default one. Logs are opened as gathering files, databases as paced files; all else is as
// below.
namespace sojourn::store {

// The name to open a database by. Registers the VFS when first asked.
// Errors: unavailable where SQLite has no memory to start. Threads: any.
const char* layered_vfs();

}  // namespace sojourn::store
