#pragma once

#include <functional>
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
//
// For an app with `prefork` this process runs `preload` once and forks a worker for each session; it returns in each
// of them too. What `main` made before is theirs as well. There may be no other thread then. Without `prefork`,
// `preload` runs first thing.
int serve(std::unique_ptr<session::App> app, const std::function<void()>& preload = {});

}  // namespace sojourn::worker
