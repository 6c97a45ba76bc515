#pragma once

#include <string>
#include <string_view>

#include "sojourn/http/message.hpp"
#include "sojourn/runtime/runtime.hpp"

namespace sojourn::server {

// Reads the body of POST /apps/run (seed 004). `app` may name a version and a function:
// "namespace/name@version:function"; the version is not looked at, since a session keeps the one it began with.
// Unknown fields are ignored. Errors: invalid_json; invalid_request naming the field.
runtime::RunRequest read_run_body(std::string_view body);

// Reads the body of POST /sessions: as above without function, input and session; an empty body is an empty object.
runtime::RunRequest read_session_body(std::string_view body);

// The header Idempotency-Key, or "". Errors: invalid_request.
std::string read_idempotency_key(const http::Request& request);

}  // namespace sojourn::server
