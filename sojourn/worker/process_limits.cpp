#include "sojourn/worker/process_limits.hpp"

#include <sys/resource.h>

#include <algorithm>

namespace sojourn::worker {

namespace {

// Only root may raise what a process was given, so what is lower than asked for is kept.
bool limit(pid_t process, __rlimit_resource resource, rlim_t soft, rlim_t hard) {
  rlimit now{};
  if (::prlimit(process, resource, nullptr, &now) != 0) return false;
  const rlimit wanted{std::min(soft, now.rlim_max), std::min(hard, now.rlim_max)};
  return ::prlimit(process, resource, &wanted, nullptr) == 0;
}

bool limit_if(pid_t process, __rlimit_resource resource, std::uint64_t most) {
  return most == 0 || limit(process, resource, most, most);
}

}  // namespace

bool hold_to(const ProcessLimits& limits, bool in_cgroup, pid_t process) {
  const std::uint64_t seconds = limits.cpu_seconds;
  return limit(process, RLIMIT_CORE, 0, 0) &&
         (in_cgroup ||
          (limit_if(process, RLIMIT_AS, limits.memory_bytes) && limit_if(process, RLIMIT_NPROC, limits.processes))) &&
         (seconds == 0 || limit(process, RLIMIT_CPU, seconds, seconds + 1)) &&
         limit_if(process, RLIMIT_NOFILE, limits.open_files) && limit_if(process, RLIMIT_FSIZE, limits.file_bytes);
}

}  // namespace sojourn::worker
