#pragma once

#include <string_view>

#include "sojourn/base/error.hpp"
#include "sojourn/http/message.hpp"

namespace sojourn::server {

// Whether a request's target is one of seed 001's, which answers errors in a shape of its own.
bool is_seed_target(std::string_view target);

// {"detail": {"error": CLASS, "message", "component": "session", "details"}}. Source: seed 001's ComponentError.
http::Response seed_error_response(const Error& error);

}  // namespace sojourn::server
