#pragma once

#include <sys/types.h>

#include <cstdint>

namespace sojourn::worker {

// Processes of a worker in a group or with an id of its own, where its app does not say: no fork goes on for ever.
inline constexpr std::uint64_t default_processes = 1024;

// What the kernel holds a worker to. 0 leaves what the server itself has. In a control group of its own (cgroup.hpp),
// memory, processors and processes are those of the worker with all that descends from it; else each is as it says.
struct ProcessLimits {
  std::uint64_t memory_bytes = 0;     // else: address space of each process
  std::uint64_t cpu_seconds = 0;      // of each process; then SIGXCPU, and SIGKILL a second later
  std::uint64_t cpu_thousandths = 0;  // of one processor; else nothing holds it
  std::uint64_t processes = 0;        // else: of its user; the kernel does not hold root to it
  std::uint64_t open_files = 0;       // of each process
  std::uint64_t file_bytes = 0;       // of one file that is written
};

// Holds `process`, or this one for 0, to those of `limits` that its control group does not hold it to, where it has
// one; it leaves no core dumps. What it has that is lower stays.
// Errors: false, and errno says why.
bool hold_to(const ProcessLimits& limits, bool in_cgroup, pid_t process = 0);

}  // namespace sojourn::worker
