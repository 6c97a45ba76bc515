#include "sojourn/client/task.hpp"

namespace sojourn::client {

namespace {

constexpr std::int64_t completed = 10;
constexpr std::int64_t cancelled = 12;

const Json null;

}  // namespace

std::string Task::text(std::string_view name) const {
  const Json* const value = json_.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t Task::status_number() const {
  const Json* const value = json_.if_contains("status");
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

const Json& Task::output() const {
  const Json* const value = json_.if_contains("output");
  return value != nullptr ? *value : null;
}

bool Task::is_over() const {
  return status_number() >= completed;
}

bool Task::is_completed() const {
  return status_number() == completed;
}

std::optional<Error> Task::failure() const {
  if (!is_over() || is_completed()) return std::nullopt;
  if (const Json* const told = json_.if_contains("error_info"); told != nullptr && told->is_object()) {
    return Error::from_json(told->get_object());
  }
  const std::string message = text("error");
  if (status_number() == cancelled)
    return Error(ErrorCode::cancelled, message.empty() ? "the call was cancelled" : message);
  return Error(ErrorCode::app_error, message.empty() ? "the call failed" : message);
}

void Task::check() const {
  if (std::optional<Error> error = failure()) throw CallFailed(std::move(*error), *this);
}

bool is_session_gone(const Error& error) {
  switch (error.code()) {
    case ErrorCode::session_not_found:
    case ErrorCode::session_expired:
    case ErrorCode::session_ended:
    case ErrorCode::worker_lost:
    case ErrorCode::version_mismatch:
      return true;
    default:
      return false;
  }
}

}  // namespace sojourn::client
