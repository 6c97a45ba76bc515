#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

// A user id for each worker, so that it can neither read another session's folder nor signal another's processes.
//
// A worker leases an id, and its session's folder is that id's alone (mode 0700) until nothing of the worker is left;
// then the folder is the server's again, before another worker may get the id. What is given is written down as a
// link in DATA/worker-ids, made before the folder changes hands, by which a server after a crash takes it back.
namespace sojourn::worker {

struct UserRange {
  uid_t first = 0;
  uid_t last = 0;  // both 0: none

  bool is_empty() const { return first == 0; }
  bool holds(uid_t user) const { return !is_empty() && user >= first && user <= last; }
};

class WorkerUsers {
 public:
  // Closes what is in `data` to other users, takes back folders that a dead server left leased, and has this process
  // make files and folders from now on that others cannot read. The ids are used by nobody else on this machine.
  // Errors: config_invalid without the rights for it, where an id is a known user's, or the ids cannot reach `data`.
  // Blocks.
  WorkerUsers(UserRange range, const std::filesystem::path& data);
  ~WorkerUsers();  // takes the folders back. All leases are over
  WorkerUsers(const WorkerUsers&) = delete;
  WorkerUsers& operator=(const WorkerUsers&) = delete;

  // An id that no process has. It is leased until this is let go, which must be after all its processes ended.
  // Errors: unavailable when all ids are leased. Threads: any. Blocks.
  class Lease;
  std::shared_ptr<Lease> lease();

  const UserRange& range() const { return range_; }

 private:
  uid_t take();
  void take_back_returned();
  void give_back(uid_t user);

  UserRange range_;
  std::filesystem::path links_;
  std::mutex mutex_;
  std::set<uid_t> leased_;
  std::vector<uid_t> returned_;  // leases that are over, whose folders are still that id's
  uid_t next_;
};

// Shared by the process that runs with it and who starts that.
class WorkerUsers::Lease {
 public:
  Lease(WorkerUsers& users, uid_t user) : users_(users), user_(user) {}
  ~Lease() { users_.give_back(user_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  uid_t user() const { return user_; }

  // Gives it `folder` with all that is in it, once in a lease.
  // Errors: too_large when the folder holds more than a walk goes through; io_error.
  // Threads: any. Blocks.
  void give(const std::filesystem::path& folder);

 private:
  WorkerUsers& users_;
  uid_t user_;
};

// Makes this process one of `user` and the group of the same number, and of no other group. Errors: false, and errno.
bool become(uid_t user);

// Whose `process` is: nothing for one that is gone, or has more than one user or group.
std::optional<uid_t> user_of(pid_t process);

// Kills every process of `user`, from a process that becomes that user; none of them runs or forks after it. False
// where it could not. Cost: a fork of this process.
bool kill_user(uid_t user);

}  // namespace sojourn::worker
