#pragma once

#include <functional>

// The parent of an app with `prefork`, in C++ (docs/formats/worker-protocol.md, "The fork server").
namespace sojourn::worker {

// Whether a server started this program as a parent.
bool is_fork_parent();

// Runs `preload`, then keeps one fork ahead of the server's requests. Returns true in each fork that became a worker,
// with its session's socket as descriptor 3, and false in the parent once the server is gone or `preload` failed.
// Threads: this one alone; there may be no other.
bool fork_workers(const std::function<void()>& preload);

}  // namespace sojourn::worker
