#include "sojourn/device/session_errors.hpp"

#include <fmt/format.h>

namespace sojourn::device {

SessionError::SessionError(ErrorCode code, std::string message, std::string session_id)
    : Error(code, std::move(message)), session_id_(std::move(session_id)) {}

ResourceCleanupError::ResourceCleanupError(JsonArray failures)
    : Error(ErrorCode::cleanup_failed, fmt::format("{} clean-up(s) of a device session failed", failures.size()),
            {{"failures", failures}}) {}

JsonArray ResourceCleanupError::failures() const {
  return details().at("failures").as_array();
}

}  // namespace sojourn::device
