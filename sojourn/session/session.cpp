#include "sojourn/session/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::session {

namespace {

std::string checked_id(std::string id) {
  const bool printable = std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7F; });
  if (id.empty() || id.size() > limits::session_id_bytes || !printable) {
    throw Error(
        ErrorCode::invalid_request,
        fmt::format("a session id has 1 to {} printable ASCII characters without spaces", limits::session_id_bytes));
  }
  return id;
}

JsonObject checked_context(JsonObject context) {
  to_text(context, {.bytes = limits::context_bytes, .depth = limits::json_depth});
  return context;
}

}  // namespace

Session::Session(std::string id, JsonObject context) : Session(std::move(id), std::move(context), State()) {}

Session::Session(std::string id, JsonObject context, State state)
    : id_(checked_id(std::move(id))), context_(checked_context(std::move(context))), state_(std::move(state)) {}

}  // namespace sojourn::session
