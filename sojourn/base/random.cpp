#include "sojourn/base/random.hpp"

#include <sys/random.h>

#include <cerrno>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/sha256.hpp"

namespace sojourn {

std::string Random::hex(std::size_t bytes) {
  std::vector<std::uint8_t> buffer(bytes);
  fill(buffer);
  return to_hex(buffer);
}

void SystemRandom::fill(std::span<std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw io_error("getrandom", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

void SeededRandom::fill(std::span<std::uint8_t> bytes) {
  const std::lock_guard lock(mutex_);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(engine_() >> 56);
}

}  // namespace sojourn
