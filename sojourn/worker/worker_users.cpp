#include "sojourn/worker/worker_users.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/worker/folder_walk.hpp"

namespace sojourn::worker {

namespace fs = std::filesystem;

namespace {

constexpr mode_t not_for_others = 066;  // folders can be passed through, not read

Error refuse(const std::string& what) {
  return Error(ErrorCode::config_invalid, "worker_uids: " + what);
}

// Whoever has one of the ids would be ended as a worker that was left.
void check_unused(const UserRange& range) {
  std::string taken;
  ::setpwent();
  while (const passwd* user = ::getpwent()) {
    if (taken.empty() && range.holds(user->pw_uid))
      taken = fmt::format("{} is the user {}", user->pw_uid, user->pw_name);
  }
  ::endpwent();
  if (!taken.empty()) throw refuse(taken + "; no id may be anybody's");
}

// Every folder on the way must let others through.
void check_way_to(const fs::path& data) {
  for (fs::path folder = fs::canonical(data).parent_path();; folder = folder.parent_path()) {
    struct stat found{};
    if (::stat(folder.c_str(), &found) != 0) throw io_error(folder.string(), errno);
    if ((found.st_mode & S_IXOTH) == 0) {
      throw refuse(
          fmt::format("the ids cannot pass {} (mode {:04o}) to the data folder {}; run chmod o+x on it, or "
                      "keep the data elsewhere",
                      folder.string(), found.st_mode & 07777, data.string()));
    }
    if (folder == folder.parent_path()) return;
  }
}

void set_mode(const fs::path& path, mode_t mode) {
  if (::chmod(path.c_str(), mode) != 0) throw io_error(path.string(), errno);
}

// What was made before there were ids. Only the server writes to these folders, so no name in them is a trap.
void close_to_others(const fs::path& data) {
  set_mode(data, 0711);
  for (const auto& entry : fs::directory_iterator(data)) {
    if (entry.is_regular_file()) set_mode(entry.path(), 0600);
    if (entry.is_directory()) set_mode(entry.path(), 0700);
  }
  const fs::path sessions = data / "sessions";
  if (!fs::exists(sessions)) return;
  set_mode(sessions, 0711);
  for (const auto& day : fs::directory_iterator(sessions)) {
    if (!day.is_directory()) continue;
    set_mode(day.path(), 0711);
    for (const auto& session : fs::directory_iterator(day.path())) {
      if (session.is_directory()) set_mode(session.path(), 0700);
    }
  }
}

std::optional<uid_t> owner_of(const fs::path& folder) {
  struct stat found{};
  return ::lstat(folder.c_str(), &found) == 0 ? std::optional(found.st_uid) : std::nullopt;
}

void give_folder(const fs::path& folder, uid_t user) {
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened || ::fchmod(opened.get(), 0700) != 0 || ::fchown(opened.get(), user, user) != 0) {
    throw io_error(folder.string(), errno);
  }
}

// Nobody but the server can reach into `folder` meanwhile. A file with another name somewhere else stays whose it is.
void give_content(const fs::path& folder, uid_t user) {
  int error = 0;
  const bool all = walk_folder(folder, {}, [&](int at, const char* name, const struct stat& found) {
    const bool ours = S_ISDIR(found.st_mode) || (S_ISREG(found.st_mode) && found.st_nlink == 1);
    if (ours && ::fchownat(at, name, user, user, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT) error = errno;
    return error == 0;
  });
  if (error != 0) throw io_error(folder.string(), error);
  if (!all) {
    throw Error(ErrorCode::too_large,
                fmt::format("the session's folder holds more than {} files, or folders more than "
                            "{} deep, so no other worker can take it over",
                            WalkBounds().entries, WalkBounds().depth));
  }
}

}  // namespace

WorkerUsers::WorkerUsers(UserRange range, const fs::path& data)
    : range_(range), links_(fs::absolute(data) / "worker-ids"), next_(range.first) {
  if (::geteuid() != 0) throw refuse("only a server that runs as root can start workers as other users");
  check_unused(range);
  check_way_to(data);
  if (::mkdir(links_.c_str(), 0700) != 0 && errno != EEXIST) throw io_error(links_.string(), errno);
  // In a container not every id may exist.
  for (const uid_t user : {range.first, range.last, ::geteuid()}) {
    if (::chown(links_.c_str(), user, user) != 0) {
      throw refuse(fmt::format("no file can be given to the id {}: {}", user, std::strerror(errno)));
    }
  }
  close_to_others(data);
  ::umask(not_for_others);
  for (const auto& link : fs::directory_iterator(links_)) {
    std::error_code error;
    const fs::path folder = fs::read_symlink(link.path(), error);
    if (!error && fs::exists(folder)) give_folder(folder, ::geteuid());
    fs::remove(link.path());
  }
}

WorkerUsers::~WorkerUsers() {
  take_back_returned();
  assert(leased_.size() == returned_.size());
}

std::shared_ptr<WorkerUsers::Lease> WorkerUsers::lease() {
  take_back_returned();
  return std::make_shared<Lease>(*this, take());
}

void WorkerUsers::Lease::give(const fs::path& folder) {
  users_.take_back_returned();
  const fs::path link = users_.links_ / std::to_string(user_);
  if (::symlink(folder.c_str(), link.c_str()) != 0) throw io_error(link.string(), errno);
  give_content(folder, user_);
  give_folder(folder, user_);
}

uid_t WorkerUsers::take() {
  const std::lock_guard lock(mutex_);
  const std::size_t all = std::size_t{range_.last} - range_.first + 1;
  if (leased_.size() >= all) {
    throw Error(ErrorCode::unavailable,
                fmt::format("all {} user ids for workers are in use; worker_uids sets them", all));
  }
  // In turn, so that an id rests for as long as it can.
  for (;;) {
    const uid_t user = next_;
    next_ = user == range_.last ? range_.first : user + 1;
    if (leased_.insert(user).second) return user;
  }
}

void WorkerUsers::take_back_returned() {
  std::vector<uid_t> returned;
  {
    const std::lock_guard lock(mutex_);
    returned.swap(returned_);
  }
  for (const uid_t user : returned) {
    const fs::path link = links_ / std::to_string(user);
    try {
      std::error_code error;
      const fs::path folder = fs::read_symlink(link, error);
      // Its session may have another worker by now.
      if (!error && owner_of(folder) == user) give_folder(folder, ::geteuid());
      ::unlink(link.c_str());
      const std::lock_guard lock(mutex_);
      leased_.erase(user);
    } catch (const Error&) {
      give_back(user);  // no other worker may get into that folder, so it is tried again
    }
  }
}

void WorkerUsers::give_back(uid_t user) {
  const std::lock_guard lock(mutex_);
  returned_.push_back(user);
}

bool become(uid_t user) {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 && ::setresuid(user, user, user) == 0;
}

std::optional<uid_t> user_of(pid_t process) {
  std::ifstream status(fmt::format("/proc/{}/status", process));
  std::set<uid_t> found;
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("Uid:") && !line.starts_with("Gid:")) continue;
    std::istringstream ids(line.substr(4));
    for (uid_t id = 0; ids >> id;) found.insert(id);
  }
  return found.size() == 1 ? std::optional(*found.begin()) : std::nullopt;
}

bool kill_user(uid_t user) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool became = become(user);
    if (became) ::kill(-1, SIGKILL);  // all that this user may signal, but not this process
    ::_exit(became ? 0 : 1);
  }
  int status = 1;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && status == 0;
}

}  // namespace sojourn::worker
