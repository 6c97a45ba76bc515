#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/worker/cgroup.hpp"
#include "sojourn/worker/worker_users.hpp"

// What keeps the workers of one server apart from each other and from it; found out once, when it starts.
// Lifetime: longer than the workers.
namespace sojourn::worker {

class Isolation {
 public:
  // Limits of each process by itself, no ids: what can be had everywhere.
  Isolation();

  // Control groups where this process may make them, and an id for each worker where there are `users`.
  // Errors: those of WorkerUsers. Threads: as prepare_cgroups(). Blocks.
  Isolation(std::uint32_t owner, const UserRange& users, const std::filesystem::path& data);
  ~Isolation();
  Isolation(const Isolation&) = delete;
  Isolation& operator=(const Isolation&) = delete;

  // What holds a worker to memory, processors and processes: "cgroup" or "rlimits".
  std::string_view limits_by() const { return cgroups_.folder.empty() ? "rlimits" : "cgroup"; }
  void tell(const Log& log) const;

  // {"limits": "cgroup" or "rlimits", "worker_ids": whether each worker has an id of its own}
  JsonObject describe() const;

  std::string cgroups() const { return cgroups_.folder.string(); }
  UserRange users() const { return users_ ? users_->range() : UserRange(); }

  // An id for a worker; null where there are no ids. Errors: those of WorkerUsers::lease().
  Async<std::shared_ptr<WorkerUsers::Lease>> lease();

  // Gives it `folder`, where there is a lease. Errors: those of WorkerUsers::Lease::give().
  Async<void> give(std::shared_ptr<WorkerUsers::Lease> lease, std::string folder);

  struct FolderLook {
    std::uint64_t bytes = 0;  // as size_of_folder(); 0 where it cannot be read
    Instant::duration took{};
  };
  Async<FolderLook> look_at(std::string folder, std::uint64_t most);

 private:
  CgroupPlace cgroups_;
  std::optional<WorkerUsers> users_;
  BlockingPool looking_{1};  // which may take long, and holds nobody up
  BlockingPool lending_{1};
};

}  // namespace sojourn::worker
