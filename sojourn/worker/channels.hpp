#pragma once

#include <utility>

#include "sojourn/worker/packet.hpp"
#include "sojourn/worker/process_worker.hpp"

namespace sojourn::worker {

// What joins the server and a worker: the ends that stay here, and those that the worker gets.
struct Channels {
  WorkerEnds ours;
  PassedDescriptors theirs;
};

// Errors: unavailable, io_error.
Channels make_channels();

// A connected pair of sockets; `type` is SOCK_STREAM or SOCK_SEQPACKET. Errors: unavailable, io_error.
std::pair<Descriptor, Descriptor> make_socketpair(int type);

}  // namespace sojourn::worker
