#include "sojourn/worker/supervisor_mark.hpp"

#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/descriptor.hpp"

extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgot to say that it is C
}

namespace sojourn::worker {

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kept_in = RLIMIT_LOCKS;
constexpr auto patience = 5s;

// Handles held at a time; of more, those past it are killed too, and looked for again.
constexpr std::size_t most_handles = 256;

bool has_ended(const Descriptor& process, std::chrono::milliseconds wait) {
  pollfd ended{process.get(), POLLIN, 0};
  return ::poll(&ended, 1, static_cast<int>(std::max(wait, 0ms).count())) > 0;
}

// One look at every process.
class Hunt {
 public:
  Hunt(std::uint32_t owner, const UserRange& users) : owner_(owner), users_(users) {}

  // Kills the living bearers. False when it saw none, and none that may have gone on as another process meanwhile.
  bool look() {
    killed_.clear();
    moved_ = false;
    std::error_code error;
    for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name.find_first_not_of("0123456789") == std::string::npos) look_at(std::stoi(name));
    }
    return moved_ || !killed_.empty();
  }

  // Those that the last look killed, or some of them.
  const std::vector<Descriptor>& killed() const { return killed_; }

 private:
  void look_at(pid_t pid) {
    // The handle comes first: should the id come to mean another process after it, the signal finds nobody.
    Descriptor handle(::pidfd_open(pid, 0));
    errno = 0;
    const std::optional<Mark> mark = mark_of(pid);
    if (!handle || (!mark && errno == ESRCH)) {
      moved_ = true;
    } else if ((mark && mark->owner == owner_) || (!users_.is_empty() && users_.holds(user_of(pid).value_or(0)))) {
      if (has_ended(handle, 0ms)) {
        moved_ |= zombies_.insert(pid).second;
      } else {
        ::pidfd_send_signal(handle.get(), SIGKILL, nullptr, 0);
        if (killed_.size() < most_handles) killed_.push_back(std::move(handle));
      }
    }
  }

  std::uint32_t owner_;
  UserRange users_;
  std::vector<Descriptor> killed_;
  std::set<pid_t> zombies_;  // seen before: nobody may ever reap them
  bool moved_ = false;
};

}  // namespace

bool bear(Mark mark, pid_t process) {
  const rlim_t value = rlim_t{mark.owner} << 32 | mark.token;
  const rlimit limit{value, value};
  return ::prlimit(process, kept_in, &limit, nullptr) == 0;
}

std::optional<Mark> mark_of(pid_t process) {
  rlimit limit{};
  if (::prlimit(process, kept_in, nullptr, &limit) != 0) return std::nullopt;
  const Mark mark{static_cast<std::uint32_t>(limit.rlim_max >> 32), static_cast<std::uint32_t>(limit.rlim_max)};
  if (mark.owner == 0 || mark.owner > Mark::most_owner) return std::nullopt;
  return mark;
}

std::size_t kill_marked(std::uint32_t owner, const UserRange& users) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const auto left = [deadline] {
    return std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  };
  std::size_t ended = 0;
  Hunt hunt(owner, users);
  while (hunt.look() && left() > 0ms) {
    for (const Descriptor& process : hunt.killed()) {
      if (!has_ended(process, left())) return ended;
      ++ended;
    }
  }
  return ended;
}

}  // namespace sojourn::worker
