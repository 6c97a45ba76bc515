#include "sojourn/worker/channels.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sojourn/base/error.hpp"

namespace sojourn::worker {

namespace {

std::pair<Descriptor, Descriptor> make_pipe() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw io_error("a pipe for a worker", errno);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace

std::pair<Descriptor, Descriptor> make_socketpair(int type) {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw io_error("a socket for a worker", errno);
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

Channels make_channels() {
  auto [socket, their_socket] = make_socketpair(SOCK_STREAM);
  auto [output, their_output] = make_pipe();
  auto [errors, their_errors] = make_pipe();
  return {{std::move(socket), std::move(output), std::move(errors)},
          {std::move(their_socket), std::move(their_output), std::move(their_errors)}};
}

}  // namespace sojourn::worker
