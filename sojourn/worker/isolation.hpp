#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/worker/cgroup.hpp"

// What keeps the workers of one server apart from each other and from it; found out once, when it starts.
// Lifetime: longer than the workers.
namespace sojourn::worker {

class Isolation {
 public:
  // Limits of each process by itself: what can be had everywhere.
  Isolation();

  // Control groups where this process may make them. Threads: as prepare_cgroups(). Blocks.
  explicit Isolation(std::uint32_t owner);
  ~Isolation();
  Isolation(const Isolation&) = delete;
  Isolation& operator=(const Isolation&) = delete;

  // What holds a worker to memory, processors and processes: "cgroup" or "rlimits".
  std::string_view limits_by() const { return cgroups_.folder.empty() ? "rlimits" : "cgroup"; }
  void tell(const Log& log) const;

  std::string cgroups() const { return cgroups_.folder.string(); }

  struct FolderLook {
    std::uint64_t bytes = 0;  // as size_of_folder(); 0 where it cannot be read
    Instant::duration took{};
  };
  Async<FolderLook> look_at(std::string folder, std::uint64_t most);

 private:
  CgroupPlace cgroups_;
  BlockingPool blocking_{1};
};

}  // namespace sojourn::worker
