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

void add_failure(JsonArray& failures, std::string_view id, std::string_view kind, const Error& error) {
  failures.push_back(JsonObject{{"id", id}, {"kind", kind}, {"message", error.message()}});
}

}  // namespace sojourn::device
