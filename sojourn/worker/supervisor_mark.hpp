#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "sojourn/worker/worker_users.hpp"

// The mark that every process of a worker bears and inherits: by it those that left their group, or lost their
// supervisor, are found.
//
// It is kept as the limit of file locks (RLIMIT_LOCKS), which Linux has kept and inherited but not looked at
// since 2.4. Unlike the environment it survives exec with another environment, unlike a group it survives setsid,
// unlike a parent it survives the parent, and unlike a cgroup it needs no rights. A process can lower it, and so take
// it off; one that does is found by its user, by its cgroup, or as an orphan without a mark.
namespace sojourn::worker {

struct Mark {
  std::uint32_t owner = 0;  // whose workers: from 1 up to most_owner
  std::uint32_t token = 0;  // which worker

  bool operator==(const Mark&) const = default;

  static constexpr std::uint32_t most_owner = ~std::uint32_t{0} - 1;  // the next would read as "no limit"
};

// Marks `process`, or this one for 0, and all that will descend from it. False where a lower mark cannot be raised,
// in a worker's own workers without rights.
bool bear(Mark mark, pid_t process = 0);

// What `process` bears; nothing for one that is gone, another user's, or unmarked.
std::optional<Mark> mark_of(pid_t process);

// Kills every process of this machine that bears a mark of `owner` or is one of `users`, and those that they start
// meanwhile; returns how many have ended. One that the kernel does not let end is given up after five seconds.
std::size_t kill_marked(std::uint32_t owner, const UserRange& users = {});

}  // namespace sojourn::worker
