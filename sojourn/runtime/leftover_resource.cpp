#include "sojourn/runtime/leftover_resource.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sojourn/base/json.hpp"

namespace sojourn::runtime {

namespace {

namespace fs = std::filesystem;

bool lies_within(const fs::path& path, const fs::path& folder) {
  const auto [end, _] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end() && path != folder;
}

// What the worker that noted it could do itself, as the server has written it to its note.
struct Reach {
  std::optional<uid_t> user;
  bool is_sandboxed = false;

  bool has_no_process_left() const { return user || is_sandboxed; }
};

Reach reach_of(const JsonObject& note) {
  Reach reach;
  if (const Json* user = note.if_contains("user"); user != nullptr && user->is_int64()) {
    reach.user = static_cast<uid_t>(user->get_int64());
  }
  reach.is_sandboxed = note.contains("sandbox");
  return reach;
}

// In a folder where everybody may make files and only their owners may remove them.
std::optional<std::string> why_not_theirs(const fs::path& path, const Reach& reach) {
  if (!reach.user) return std::nullopt;
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0 && errno == ENOENT) return std::nullopt;
  const bool is_direct = path.parent_path() == "/tmp" || path.parent_path() == "/dev/shm";
  if (is_direct && found.st_uid == *reach.user) return std::nullopt;
  return fmt::format("'{}' is not the worker's, or not directly in /tmp or /dev/shm", path.string());
}

std::optional<std::string> remove_path(fs::path path, const std::string& session_folder, const Reach& reach) {
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  const fs::path last = path.filename();
  if (last.empty() || last == "." || last == "..") return fmt::format("'{}' names no file or folder", path.string());
  std::error_code error;
  // The parent is resolved, the last part is not: a link is removed, never what it leads to.
  const fs::path real = fs::weakly_canonical(path.parent_path(), error) / last;
  if (error || !path.is_absolute()) return fmt::format("'{}' is no absolute path", path.string());
  const bool is_the_sessions = !session_folder.empty() && lies_within(real, session_folder);
  if (!is_the_sessions && !lies_within(real, "/tmp") && !lies_within(real, "/dev/shm")) {
    return fmt::format("'{}' lies outside the session's folder, /tmp and /dev/shm", path.string());
  }
  if (!is_the_sessions && reach.is_sandboxed) return std::nullopt;
  if (!is_the_sessions) {
    if (auto why_not = why_not_theirs(real, reach)) return why_not;
  }
  fs::remove_all(real, error);
  if (error) return fmt::format("cannot remove '{}': {}", path.string(), error.message());
  return std::nullopt;
}

// When a process started, in clock ticks since boot.
std::optional<std::uint64_t> start_of(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::stringstream text;
  text << file.rdbuf();
  const std::string stat = text.str();
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int i = 3; i < 22; ++i) fields >> field;
  std::uint64_t start = 0;
  if (!(fields >> start)) return std::nullopt;
  return start;
}

std::optional<std::string> kill_process(std::int64_t pid, std::uint64_t start) {
  if (pid <= 1) return fmt::format("{} is no process to end", pid);
  // Holding a pidfd while comparing the start time makes sure that the signal reaches the process that was compared.
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
  if (pidfd < 0) {
    if (errno == ESRCH) return std::nullopt;
    return fmt::format("cannot reach process {}: {}", pid, std::strerror(errno));
  }
  std::optional<std::string> failure;
  if (start_of(pid) == start && ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
    failure = fmt::format("cannot end process {}: {}", pid, std::strerror(errno));
  }
  ::close(pidfd);
  return failure;
}

std::optional<std::string> unlink_shared_memory(const std::string& name, const Reach& reach) {
  if (reach.is_sandboxed) return std::nullopt;
  if (auto why_not = why_not_theirs("/dev/shm" / fs::path(name).relative_path(), reach)) return why_not;
  if (::shm_unlink(name.c_str()) == 0 || errno == ENOENT) return std::nullopt;
  return fmt::format("cannot unlink shared memory '{}': {}", name, std::strerror(errno));
}

}  // namespace

std::optional<std::string> clean_up_leftover(const store::ResourceRecord& resource,
                                             const std::string& session_folder) {
  const Json note = parse_json(resource.cleanup);
  if (note.is_object()) {
    const JsonObject& how = note.get_object();
    const Reach reach = reach_of(how);
    if (const Json* path = how.if_contains("path"); path != nullptr && path->is_string()) {
      return remove_path(std::string(path->get_string()), session_folder, reach);
    }
    if (const Json* name = how.if_contains("shm"); name != nullptr && name->is_string()) {
      return unlink_shared_memory(std::string(name->get_string()), reach);
    }
    const Json* pid = how.if_contains("pid");
    const Json* start = how.if_contains("start");
    if (pid != nullptr && start != nullptr && pid->is_int64() && start->is_int64()) {
      if (reach.has_no_process_left()) return std::nullopt;
      return kill_process(pid->get_int64(), static_cast<std::uint64_t>(start->get_int64()));
    }
  }
  return "only the process that acquired it knew how";
}

}  // namespace sojourn::runtime
