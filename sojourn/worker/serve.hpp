#pragma once

#include <memory>

#include "sojourn/session/app.hpp"

// The other side of the protocol: a program in C++ that serves sessions.
namespace sojourn::worker {

// Serves one session with `app` to the server at the other end of descriptor 3, until that closes it. What `main` of
// a worker program returns: 0, or 1 when it ended otherwise, 2 when no server started it; the reason is on standard
// error.
//
// Threads: all of the app runs on the calling thread.
// Order:   a call's progress and log lines arrive in the order of the calls to its scope.
// Errors:  what a call throws fails that call only, and drops its state changes since the last checkpoint.
int serve(std::unique_ptr<session::App> app);

}  // namespace sojourn::worker
