#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/session/app.hpp"
#include "sojourn/worker/frame.hpp"

// What a worker says to the server: each frame as it is written, and as the server reads it.
namespace sojourn::worker {

using AppEvents = std::vector<std::pair<std::string, JsonObject>>;  // type and data

// What a call changed and is to be committed, as it is sent.
struct CallChanges {
  std::vector<store::StateChange> state;
  AppEvents events;
};

// And as it is read; a deleted key has no value.
struct ReadChanges {
  std::vector<std::pair<std::string, std::optional<Json>>> state;
  AppEvents events;
};

std::string worker_hello_frame(const session::AppInfo& app, bool acts_on_end);
std::string ready_frame();
// For the opening with an empty `request_id`.
std::string error_frame(std::string_view request_id, const Error& error);
// `kind` is "output" or "delta". Errors: too_large or not_serializable.
std::string progress_frame(std::string_view request_id, std::string_view kind, const Json& value);
std::string log_frame(std::string_view request_id, LogLevel level, std::string_view message,
                      const JsonObject& fields);
std::string checkpoint_frame(std::string_view request_id, const CallChanges& changes);
std::string app_call_frame(std::string_view request_id, std::string_view call_id, std::string_view app,
                           std::string_view function, const Json& input);
// With `n` the server answers with `noted` once the resource is recorded.
std::string resource_frame(const session::ResourceNote& resource, std::optional<std::int64_t> n);
std::string resource_released_frame(std::string_view id);
// Errors: too_large or not_serializable for the output.
std::string result_frame(std::string_view request_id, const Json& output, const CallChanges& changes, bool end);
std::string closed_frame(const std::optional<Error>& failure);  // of the app's clean-up

// Errors of all that read: protocol_error for what is missing or of another kind.
LogLevel read_level(const Frame& frame);
session::ResourceNote read_resource(Frame& frame);
ReadChanges read_changes(Frame& frame);

// The error by which an app failed. The codes that say that a worker is gone are not its to use: it then is an
// app_error, with the code in its details.
Error read_app_error(const Frame& frame);

}  // namespace sojourn::worker
