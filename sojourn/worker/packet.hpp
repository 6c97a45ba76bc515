#pragma once

#include <sys/types.h>

#include <array>
#include <span>
#include <string_view>

#include "sojourn/base/descriptor.hpp"

// Packets over a SOCK_SEQPACKET socket, which may bring what a process is given.
namespace sojourn::worker {

// What a worker is given: its socket, standard output and standard error.
using PassedDescriptors = std::array<Descriptor, 3>;

// Sends `bytes`, with `descriptors` where there are any. Never waits.
// Errors: false, and errno says why; EAGAIN when it must be tried again.
bool send_packet(int socket, std::string_view bytes, const PassedDescriptors& descriptors = {});

// Receives one packet into `room`, and what it brings into `descriptors`. `flags` are those of recvmsg.
// Errors: as recvmsg, whose result it returns: -1 with errno, 0 when the other side is gone.
ssize_t receive_packet(int socket, std::span<char> room, PassedDescriptors& descriptors, int flags);

}  // namespace sojourn::worker
