#pragma once

#include <cstdint>
#include <type_traits>

#include "sojourn/worker/process_limits.hpp"
#include "sojourn/worker/worker_users.hpp"

// What the server and its supervisor tell each other: packets over a SOCK_SEQPACKET socket. Both are the same
// program, so packets are plain structures.
namespace sojourn::worker {

// The supervisor finds its end of the socket here, as a worker finds its own.
inline constexpr int passed_descriptor = 3;

// A request with all its text; longer ones are refused before they are sent.
inline constexpr std::size_t max_request_bytes = 128 * 1024;

enum class RequestKind : std::uint32_t {
  begin = 1,  // the first: `token` is the owner in the marks of its workers; its text the folder of their cgroups
  spawn = 2,
  signal = 3,
  adopt = 4,  // `pid`, a fork of the worker `parent`, becomes the worker `token`
};

struct SupervisorRequest {
  RequestKind kind;
  std::int32_t signal = 0;
  std::uint32_t token = 0;  // names the worker; never used twice
  ProcessLimits limits;
  uid_t user = 0;   // the worker has that id, and the group of the same number; 0: the server's
  UserRange users;  // of `begin`: those that only workers have
  std::uint32_t parent = 0;
  std::int32_t pid = 0;
  std::uint32_t arguments = 0;
  std::uint32_t variables = 0;
  // A spawn goes on with texts, each with its NUL: folder, arguments, variables; and it brings three descriptors: the
  // worker's socket, standard output, standard error.
};

// Where starting a worker failed.
enum class SpawnStep : std::uint32_t {
  fork = 1,
  folder = 2,
  limits = 3,
  exec = 4,
  descriptors = 5,
  cgroup = 6,
  adopt = 7,
  user = 8,
};

enum class ReportKind : std::uint32_t {
  started = 1,  // its program runs as `pid`
  failed = 2,   // it did not start: `step` and, as `value`, the errno
  exited = 3,   // its main process ended; `value` is what waitpid said
  gone = 4,     // nothing that descends from it is left
  ready = 5,    // it has begun; `value` processes of former supervisors were left, and have ended
};

struct SupervisorReport {
  ReportKind kind;
  SpawnStep step{};
  std::uint32_t token = 0;
  std::int32_t pid = 0;
  std::int32_t value = 0;
  std::uint64_t memory_limit = 0;  // of `exited`: it was killed since it went past this
  std::int64_t cpu_us = 0;         // of `exited`, as is the next
  std::uint64_t peak_memory = 0;   // bytes
};

static_assert(std::is_trivially_copyable_v<SupervisorRequest> && std::is_trivially_copyable_v<SupervisorReport>);

}  // namespace sojourn::worker
