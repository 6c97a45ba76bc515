#include "sojourn/worker/fork_messages.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "sojourn/base/json.hpp"

namespace sojourn::worker {

namespace {

std::int64_t integer(const JsonObject& message, std::string_view key) {
  const Json* value = message.if_contains(key);
  if (value == nullptr || !value->is_int64() || value->get_int64() < 1) {
    throw Error(ErrorCode::protocol_error, fmt::format("a message of an app's parent process lacks \"{}\"", key));
  }
  return value->get_int64();
}

Error fork_error(int error_number) {
  return Error(is_shortage(error_number) ? ErrorCode::unavailable : ErrorCode::worker_start_failed,
               fmt::format("its parent process could not fork: {}", std::strerror(error_number)),
               {{"errno", error_number}});
}

}  // namespace

std::string fork_request(std::uint64_t n, uid_t user) {
  JsonObject message{{"type", "fork"}, {"n", n}};
  if (user != 0) message["user"] = user;
  return to_text(message);
}

std::string preloaded_message() {
  return to_text(JsonObject{{"type", "preloaded"}});
}

std::string forked_message(std::uint64_t n, pid_t pid) {
  return to_text(JsonObject{{"type", "forked"}, {"n", n}, {"pid", pid}});
}

std::string failed_message(const Error& error) {
  return to_text(JsonObject{{"type", "failed"}, {"error", error.to_json()}});
}

std::string failed_message(std::uint64_t n, int error_number) {
  return to_text(JsonObject{{"type", "failed"}, {"n", n}, {"errno", error_number}});
}

std::string failed_message() {
  return to_text(JsonObject{{"type", "failed"}});
}

ForkMessage read_fork_message(const JsonObject& message) {
  ForkMessage read;
  if (const Json* type = message.if_contains("type"); type != nullptr && type->is_string()) {
    read.type = type->get_string();
  }
  if (message.contains("user")) read.user = static_cast<uid_t>(integer(message, "user"));
  if (message.contains("n")) read.n = static_cast<std::uint64_t>(integer(message, "n"));
  if (read.type == "forked") {
    read.pid = static_cast<pid_t>(integer(message, "pid"));
  } else if (read.type == "failed") {
    if (const Json* error = message.if_contains("error"); error != nullptr && error->is_object()) {
      const Error said = Error::from_json(error->get_object());
      read.error = Error(ErrorCode::worker_start_failed, said.message(), said.details());
    } else if (message.contains("errno")) {
      read.error = fork_error(static_cast<int>(integer(message, "errno")));
    }
  } else if (read.type != "preloaded" && read.type != "fork") {
    throw Error(ErrorCode::protocol_error, "an app's parent process sent a message of an unknown type");
  }
  return read;
}

}  // namespace sojourn::worker
