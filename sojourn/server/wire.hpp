#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/http/message.hpp"
#include "sojourn/runtime/runtime.hpp"

// The shapes of the HTTP interface: sessions, tasks, apps and errors as JSON texts (docs/formats/http.md).
//
// Texts are put together by hand, since inputs, outputs and contexts are JSON texts already and are not parsed again.
namespace sojourn::server {

// A task whole. `partial` stands for the output of a task that has none yet.
std::string task_json(const runtime::TaskView& view, std::optional<std::string_view> partial = std::nullopt);

// What of a task changed: its identity, status and output. Followers merge it into what they have.
std::string task_change_json(const runtime::TaskView& view, std::optional<std::string_view> partial);

// Only where a task stands.
std::string task_status_json(const runtime::TaskView& view);

std::string session_json(const runtime::SessionView& view);

// Only until when a session stays.
std::string session_expiry_json(const runtime::SessionView& view);

// Each event as its stored bytes beside its hash, so that whoever reads it can check the chain.
std::string events_json(const std::vector<store::Event>& events);

JsonObject step_object(const store::StepRecord& step);

// How long a step took, as the wire says it.
std::int64_t whole_milliseconds(Microseconds duration);

std::string app_json(const session::AppInfo& app, const JsonObject& workers);

// `json` as an answer: bare for callers that say "X-API-Version: 2", else as
// {"success": true, "status", "data", "messages": []}.
http::Response data_response(bool bare, int status, std::string json);

// Problem details (RFC 9457) joined with {"success": false, "error": {"code", "message", ...}}, so that callers of
// every generation find what they look for.
http::Response error_response(const Error& error);

}  // namespace sojourn::server
