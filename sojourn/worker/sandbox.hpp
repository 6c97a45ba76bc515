#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// A worker in a sandbox of bubblewrap: the system read-only, its own folder writable, /tmp, /dev, /proc and processes
// of its own, no network unless asked for.
//
// It hides the server's data and keys and what runs, not files of the system that the worker's user may read; it
// filters no system calls. All in it ends with its first process.
namespace sojourn::worker {

struct Sandbox {
  bool is_wanted = false;
  bool has_network = false;
};

struct SandboxView {
  std::string folder;                         // writable, and where the command runs; "": none
  std::string app_folder;                     // readable, also where it lies in /tmp
  std::vector<std::filesystem::path> hidden;  // folders shown empty, files that cannot be read
};

// What runs `command` in a sandbox. Descriptors are passed on as they are.
// Errors: worker_start_failed where bubblewrap is not installed. Whether the kernel lets it make a sandbox shows when
//         it runs: if not, it says so on standard error and the command is not run.
std::vector<std::string> in_sandbox(const Sandbox& sandbox, const SandboxView& view,
                                    const std::vector<std::string>& command);

// What bubblewrap said of why it made no sandbox; nothing where `errors` do not begin with its words.
std::optional<std::string> sandbox_refusal(std::string_view errors);

}  // namespace sojourn::worker
