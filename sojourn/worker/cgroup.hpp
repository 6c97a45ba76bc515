#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/worker/process_limits.hpp"

// Control groups (version 2): one for each worker, below one of the server's own.
//
// A group holds all processes of a worker together to its memory, processors and number of processes, whoever forked
// them, and ends all of them at once. Where the server may not make groups, the limits of single processes
// (setrlimit) are what is left. Layout: own group / sojourn-OWNER / worker-TOKEN; the server itself may move to own
// group / sojourn-server.
namespace sojourn::worker {

// The folder of this process's own group, by the texts of /proc/self/mountinfo and /proc/self/cgroup; nothing where
// no hierarchy of version 2 is mounted, or the group lies outside what is mounted.
std::optional<std::filesystem::path> own_cgroup(std::string_view mountinfo, std::string_view memberships);

// The folder in which workers may get groups, or why there is none.
struct CgroupPlace {
  std::filesystem::path folder;  // empty: none
  std::string why_not;
};

// Makes the folder for the workers of `owner` below this process's own group, with the controllers memory, pids and
// cpu. It may move this process into a group beside it, for a group has either processes or groups with controllers.
// Leaves nothing changed where it cannot. Threads: before any other process is started. Blocks.
CgroupPlace prepare_cgroups(std::uint32_t owner);

// The groups of workers, in the supervisor. Threads: one.
class Cgroups {
 public:
  Cgroups() = default;

  // Has groups made in `folder`; what a supervisor before this one left there is killed and removed.
  void use(std::string folder);

  bool are_used() const { return static_cast<bool>(folder_); }

  // Makes the group of a worker; what a process takes to be born into it. Nothing, and errno, where it fails.
  Descriptor make(std::uint32_t token, const ProcessLimits& limits);

  // Moves `process` into a group that make() gave. Errors: false, and errno says why, also for none.
  static bool take_in(const Descriptor& group, pid_t process);

  // Whether the kernel killed its processes since they had all the memory that it may have.
  bool ran_out_of_memory(std::uint32_t token) const;

  // Kills all that is in the group of a worker, and removes it. False while something is left; ask again.
  bool end(std::uint32_t token);

  // The same for all of them and for the folder. Gives up after five seconds.
  void end_all();

 private:
  std::filesystem::path path_;
  Descriptor folder_;
};

// Like fork(), but the child is born in `group`. Where the kernel has no such call, it enters the group first thing.
pid_t fork_into(const Descriptor& group);

}  // namespace sojourn::worker
