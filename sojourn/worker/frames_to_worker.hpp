#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sojourn/base/error.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/frame.hpp"

// What the server says to a worker: each frame as it is written, and as the worker reads it.
namespace sojourn::worker {

std::string hello_frame();
std::string open_frame(const session::Opening& opening, std::string_view app_version);

// Errors: too_large or not_serializable for the input.
std::string call_frame(const session::CallRequest& request, Instant now);
std::string saved_frame(std::string_view request_id, const std::optional<Error>& failed);
std::string noted_frame(std::int64_t n, const std::optional<Error>& failed);
// Errors: too_large or not_serializable for the output.
std::string app_result_frame(std::string_view call_id, const Json& output);
std::string app_result_frame(std::string_view call_id, const Error& error);
std::string cancel_frame(std::string_view request_id);
std::string close_frame(session::CloseReason reason);
std::string pong_frame(const Frame& ping);
std::string violation_frame(const Error& violation);

// Errors of all that read: protocol_error for what is missing or of another kind.
session::Opening read_opening(Frame& frame);
session::CallRequest read_call(Frame& frame, Instant now);
session::CloseReason read_close(const Frame& frame);

// The "error" that a `saved` or an `app_result` may bring.
std::optional<Error> read_error(Frame& frame);

}  // namespace sojourn::worker
