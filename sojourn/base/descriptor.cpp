#include "sojourn/base/descriptor.hpp"

#include <cerrno>

namespace sojourn {

std::size_t write_all(int file, std::string_view bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ::ssize_t count = ::write(file, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    written += static_cast<std::size_t>(count);
  }
  return written;
}

std::optional<std::size_t> read_up_to(int file, std::span<char> buffer) {
  std::size_t got = 0;
  while (got < buffer.size()) {
    const ::ssize_t count = ::read(file, buffer.data() + got, buffer.size() - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  return got;
}

}  // namespace sojourn
