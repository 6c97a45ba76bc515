#include "sojourn/worker/sandbox.hpp"

#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <string_view>
#include <system_error>

#include "sojourn/base/error.hpp"

namespace sojourn::worker {

namespace fs = std::filesystem;

namespace {

// Of each folder in memory that a sandbox has: in control groups it counts as the worker's, elsewhere this is all.
constexpr std::string_view memory_folder_bytes = "67108864";

std::string find_bubblewrap() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string program = folder + "/bwrap";
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  throw Error(ErrorCode::worker_start_failed,
              "sandbox = true needs bubblewrap, and there is no bwrap in PATH; install the package bubblewrap");
}

}  // namespace

std::vector<std::string> in_sandbox(const Sandbox& sandbox, const SandboxView& view,
                                    const std::vector<std::string>& command) {
  std::vector<std::string> line{find_bubblewrap()};
  const auto add = [&line](std::initializer_list<std::string_view> words) {
    line.insert(line.end(), words.begin(), words.end());
  };
  const auto in_memory = [&](std::string_view folder) { add({"--size", memory_folder_bytes, "--tmpfs", folder}); };
  add({"--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop",
       "ALL"});
  if (!sandbox.has_network) add({"--unshare-net"});
  add({"--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"});
  in_memory("/dev/shm");
  add({"--remount-ro", "/dev"});
  // Sockets of the system's services are there, which no read-only mount keeps from being talked to.
  in_memory("/run");
  if (sandbox.has_network) add({"--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"});
  add({"--remount-ro", "/run"});
  in_memory("/tmp");
  std::vector<std::string> emptied;
  for (const fs::path& hidden : view.hidden) {
    std::error_code error;
    const std::string path = fs::weakly_canonical(hidden, error).string();
    if (fs::is_directory(path, error)) {
      in_memory(path);
      emptied.push_back(path);
    } else {
      add({"--ro-bind", "/dev/null", path});
    }
  }
  if (!view.folder.empty()) add({"--bind", view.folder, view.folder});
  add({"--ro-bind", view.app_folder, view.app_folder});
  for (const std::string& path : emptied) add({"--remount-ro", path});
  add({"--chdir", view.folder.empty() ? "/" : view.folder, "--"});
  line.insert(line.end(), command.begin(), command.end());
  return line;
}

std::optional<std::string> sandbox_refusal(std::string_view errors) {
  if (!errors.starts_with("bwrap: ")) return std::nullopt;
  return std::string(errors.substr(0, errors.find('\n')));
}

}  // namespace sojourn::worker
