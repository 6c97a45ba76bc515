#pragma once

#include <cstdint>

namespace sojourn::worker {

// What the kernel holds a worker's processes to, each of them by itself. 0 leaves what the server itself has.
struct ProcessLimits {
  std::uint64_t memory_bytes = 0;  // address space
  std::uint64_t cpu_seconds = 0;   // then SIGXCPU, and SIGKILL a second later
  std::uint64_t processes = 0;     // of the server's user; the kernel does not hold root to it
  std::uint64_t open_files = 0;
  std::uint64_t file_bytes = 0;  // of one file that is written
};

}  // namespace sojourn::worker
