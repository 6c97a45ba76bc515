#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/worker/cgroup.hpp"
#include "sojourn/worker/supervisor.hpp"
#include "sojourn/worker/worker_users.hpp"

// What keeps the workers of one server apart from each other and from it; found out once, when it starts.
// Lifetime: longer than the workers.
namespace sojourn::worker {

class Isolation {
 public:
  // Limits of each process by itself, no ids: what can be had everywhere.
  Isolation();

  // Control groups where this process may make them, an id for each worker where there are `users`, and sandboxes
  // that show nothing of `hidden`. Errors: those of WorkerUsers. Threads: as prepare_cgroups(). Blocks.
  Isolation(std::uint32_t owner, const UserRange& users, const std::filesystem::path& data,
            std::vector<std::filesystem::path> hidden);
  ~Isolation();
  Isolation(const Isolation&) = delete;
  Isolation& operator=(const Isolation&) = delete;

  // What holds a worker to memory, processors and processes: "cgroup" or "rlimits".
  std::string_view limits_by() const { return cgroups_.folder.empty() ? "rlimits" : "cgroup"; }
  void tell(const Log& log) const;

  // {"limits": "cgroup" or "rlimits", "worker_ids": whether each worker has an id of its own,
  //  "sandbox": whether one can be had}
  JsonObject describe() const;

  std::string cgroups() const { return cgroups_.folder.string(); }
  UserRange users() const { return users_ ? users_->range() : UserRange(); }

  // Finds out whether a sandbox can be made: until then none can. It starts a process, and takes until `deadline`.
  Async<void> try_sandbox(Supervisor& supervisor, Clock& clock, Instant deadline);

  // Why no sandbox can be had; nothing where it can.
  const std::optional<std::string>& no_sandbox() const { return no_sandbox_; }
  const std::vector<std::filesystem::path>& hidden() const { return hidden_; }

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
  std::vector<std::filesystem::path> hidden_;
  std::optional<std::string> no_sandbox_ = "it was not tried";
  BlockingPool looking_{1};  // which may take long, and holds nobody up
  BlockingPool lending_{1};
};

}  // namespace sojourn::worker
