#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "sojourn/base/error.hpp"

// What the server and an app's parent process tell each other: one JSON object a packet
// (docs/formats/worker-protocol.md, "The fork server").
namespace sojourn::worker {

// A message has at most this many bytes.
inline constexpr std::size_t fork_message_bytes = 64 * 1024;

// Tells a program that it is started as a parent.
inline constexpr const char* prefork_variable = "SOJOURN_PREFORK";

struct ForkMessage {
  std::string type;                // "fork" to the parent; "preloaded", "forked" or "failed" from it
  std::optional<std::uint64_t> n;  // which fork
  pid_t pid = 0;
  uid_t user = 0;              // of "fork": what the fork becomes; 0: it stays what it is
  std::optional<Error> error;  // of "failed", where the fork failed for a reason
};

std::string fork_request(std::uint64_t n, uid_t user);
std::string preloaded_message();
std::string forked_message(std::uint64_t n, pid_t pid);
// That the app cannot be loaded.
std::string failed_message(const Error& error);
// That fork `n` failed with an errno.
std::string failed_message(std::uint64_t n, int error_number);
// That what was forking died of it.
std::string failed_message();

// Errors: protocol_error.
ForkMessage read_fork_message(const JsonObject& message);

}  // namespace sojourn::worker
