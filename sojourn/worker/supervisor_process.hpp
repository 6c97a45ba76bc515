#pragma once

// The supervisor: the small process from which all workers descend, so that none outlives the server.
//
// It starts workers, limits them, and reports their ends. It is the subreaper of all their descendants, and knows
// whose an orphan is by a mark that every process inherits. When a worker's main process ends, or when the server
// goes away, it kills what is left.
namespace sojourn::worker {

// Serves the server at the other end of descriptor 3 until that closes; then kills every descendant and returns.
// Shape:   what `main` returns. Call it first in main, before any thread or descriptor is opened.
// Threads: none; it is made for a process that does nothing else.
int supervisor_main();

}  // namespace sojourn::worker
