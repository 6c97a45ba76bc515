#include "sojourn/worker/cgroup.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

namespace sojourn::worker {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr std::array controllers{"memory", "pids", "cpu"};
constexpr std::string_view wanted = "+memory +pids +cpu";
constexpr auto patience = 5s;

// cpu.max is a share of each period, in microseconds.
constexpr std::uint64_t period = 100'000;

std::string group_name(std::uint32_t token) {
  return fmt::format("worker-{}", token);
}

// 0, or the errno.
int write_at(int folder, const char* file, std::string_view text) {
  const Descriptor opened(::openat(folder, file, O_WRONLY | O_CLOEXEC));
  if (!opened || ::write(opened.get(), text.data(), text.size()) < 0) return errno;
  return 0;
}

int write_at(const fs::path& folder, const char* file, std::string_view text) {
  return write_at(AT_FDCWD, (folder / file).c_str(), text);
}

std::string read_file(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

// In mountinfo a space is \040, and so on.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// `own` when it may have groups with our controllers; 0, or the errno.
int enable_controllers(const fs::path& own) {
  const int error = write_at(own, "cgroup.subtree_control", wanted);
  const std::string self = std::to_string(::getpid());
  if (error != EBUSY || words(read_file(own / "cgroup.procs")) != std::vector{self}) return error;
  const fs::path beside = own / "sojourn-server";
  if (::mkdir(beside.c_str(), 0755) != 0 && errno != EEXIST) return errno;
  if (const int refused = write_at(beside, "cgroup.procs", self)) return refused;
  const int again = write_at(own, "cgroup.subtree_control", wanted);
  if (again != 0) {
    write_at(own, "cgroup.procs", self);
    ::rmdir(beside.c_str());
  }
  return again;
}

CgroupPlace none(std::string why_not) {
  return {{}, std::move(why_not)};
}

// Removes the groups in `folder`, and it. False while one of them has a process.
bool remove_groups(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored) && !remove_groups(entry->path())) return false;
  }
  return ::rmdir(folder.c_str()) == 0 || errno == ENOENT;
}

bool kill_and_remove(const fs::path& folder) {
  write_at(folder, "cgroup.kill", "1");
  return remove_groups(folder);
}

}  // namespace

std::optional<fs::path> own_cgroup(std::string_view mountinfo, std::string_view memberships) {
  std::string line;
  std::string own;
  for (std::istringstream lines{std::string(memberships)}; std::getline(lines, line);) {
    if (line.starts_with("0::")) own = line.substr(3);
  }
  if (own.empty()) return std::nullopt;
  for (std::istringstream lines{std::string(mountinfo)}; std::getline(lines, line);) {
    // 30 23 0:26 ROOT MOUNT_POINT OPTIONS ... - cgroup2 ...
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    const std::vector<std::string> fields = words(line);
    if (fields.size() < 5) continue;
    const std::string root = unescaped(fields[3]);
    const fs::path below = fs::path(own).lexically_relative(root);
    if (below.empty() || *below.begin() == "..") continue;
    const fs::path mounted = unescaped(fields[4]);
    return below == "." ? mounted : mounted / below;
  }
  return std::nullopt;
}

CgroupPlace prepare_cgroups(std::uint32_t owner) {
  auto own = own_cgroup(read_file("/proc/self/mountinfo"), read_file("/proc/self/cgroup"));
  if (!own) return none("no hierarchy of cgroup v2 is mounted");
  // Where this server was moved aside by a start before this one.
  if (own->filename() == "sojourn-server") own = own->parent_path();
  const std::vector<std::string> available = words(read_file(*own / "cgroup.controllers"));
  for (const std::string_view controller : controllers) {
    if (std::ranges::find(available, controller) != available.end()) continue;
    return none(
        fmt::format("{} has no controller {}: cgroup v1 has it, or it was not delegated", own->string(), controller));
  }
  if (const int error = enable_controllers(*own); error == EBUSY) {
    return none(fmt::format("{} has other processes too; start the server in a group of its own", own->string()));
  } else if (error != 0) {
    return none(fmt::format("{} cannot be written: {}", own->string(), std::strerror(error)));
  }
  const fs::path folder = *own / fmt::format("sojourn-{:08x}", owner);
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return none(fmt::format("{} cannot be made: {}", folder.string(), std::strerror(errno)));
  }
  int error = write_at(folder, "cgroup.subtree_control", wanted);
  // Linux before 5.14 has no cgroup.kill.
  if (error == 0 && ::access((folder / "cgroup.kill").c_str(), W_OK) != 0) error = errno;
  if (error == 0) return {folder, ""};
  ::rmdir(folder.c_str());
  return none(fmt::format("{} cannot be used: {}", folder.string(), std::strerror(error)));
}

void Cgroups::use(std::string folder) {
  if (folder.empty()) return;
  path_ = std::move(folder);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) continue;
    while (!kill_and_remove(entry->path()) && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 1);
  }
  folder_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

Descriptor Cgroups::make(std::uint32_t token, const ProcessLimits& limits) {
  const std::string name = group_name(token);
  if (::mkdirat(folder_.get(), name.c_str(), 0755) != 0) return Descriptor();
  Descriptor group(::openat(folder_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int error = group ? 0 : errno;
  const auto set = [&](const char* file, const std::string& text) {
    if (error == 0) error = write_at(group.get(), file, text);
  };
  if (limits.memory_bytes != 0) {
    set("memory.max", std::to_string(limits.memory_bytes));
    set("memory.oom.group", "1");
    // Not there where the machine swaps nothing.
    if (::faccessat(group.get(), "memory.swap.max", W_OK, 0) == 0) set("memory.swap.max", "0");
  }
  if (limits.cpu_thousandths != 0) {
    set("cpu.max", fmt::format("{} {}", limits.cpu_thousandths * period / 1000, period));
  }
  set("pids.max", std::to_string(limits.processes == 0 ? default_processes : limits.processes));
  if (error == 0) return group;
  ::unlinkat(folder_.get(), name.c_str(), AT_REMOVEDIR);
  errno = error;
  return Descriptor();
}

bool Cgroups::take_in(const Descriptor& group, pid_t process) {
  if (!group) return false;
  const int error = write_at(group.get(), "cgroup.procs", std::to_string(process));
  errno = error;
  return error == 0;
}

bool Cgroups::ran_out_of_memory(std::uint32_t token) const {
  if (!folder_) return false;
  const std::vector<std::string> events = words(read_file(path_ / group_name(token) / "memory.events"));
  const auto kills = std::ranges::find(events, "oom_kill");
  return kills != events.end() && kills + 1 != events.end() && kills[1] != "0";
}

bool Cgroups::end(std::uint32_t token) {
  return !folder_ || kill_and_remove(path_ / group_name(token));
}

void Cgroups::end_all() {
  if (!folder_) return;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!kill_and_remove(path_) && std::chrono::steady_clock::now() < deadline) ::poll(nullptr, 0, 1);
}

pid_t fork_into(const Descriptor& group) {
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<std::uint64_t>(group.get());
  const auto born = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (born >= 0 || (errno != ENOSYS && errno != EPERM && errno != E2BIG && errno != EINVAL)) return born;
  const pid_t pid = ::fork();
  if (pid == 0 && write_at(group.get(), "cgroup.procs", "0") != 0) ::_exit(127);
  return pid;
}

}  // namespace sojourn::worker
