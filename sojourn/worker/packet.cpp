#include "sojourn/worker/packet.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace sojourn::worker {

namespace {

using Numbers = std::array<int, std::tuple_size_v<PassedDescriptors>>;

}  // namespace

bool send_packet(int socket, std::string_view bytes, const PassedDescriptors& descriptors) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(Numbers))> passed{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptors[0]) {
    message.msg_control = passed.data();
    message.msg_controllen = passed.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(Numbers));
    const Numbers numbers{descriptors[0].get(), descriptors[1].get(), descriptors[2].get()};
    std::memcpy(CMSG_DATA(header), numbers.data(), sizeof numbers);
  }
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

ssize_t receive_packet(int socket, std::span<char> room, PassedDescriptors& descriptors, int flags) {
  iovec part{room.data(), room.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(Numbers))> passed{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = passed.data();
  message.msg_controllen = passed.size();
  const ssize_t got = ::recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_type != SCM_RIGHTS) continue;
    Numbers numbers{-1, -1, -1};
    std::memcpy(numbers.data(), CMSG_DATA(header),
                std::min(std::size_t{header->cmsg_len} - CMSG_LEN(0), sizeof numbers));
    for (std::size_t i = 0; i < numbers.size(); ++i) descriptors[i].reset(numbers[i]);
  }
  return got;
}

}  // namespace sojourn::worker
