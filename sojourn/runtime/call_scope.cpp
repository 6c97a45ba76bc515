#include "sojourn/runtime/call_scope.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sojourn/base/limits.hpp"

namespace sojourn::runtime {

namespace {

// Words that only Sojourn itself writes into a journal.
constexpr std::string_view own_types[] = {"session.",  "worker.", "call.", "state.", "resource.",
                                          "artifact.", "audit.",  "step.", "log"};

void check_type(std::string_view type) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  if (type.empty() || type.size() > 64 || !std::ranges::all_of(type, allowed)) {
    throw Error(
        ErrorCode::invalid_request,
        fmt::format("'{}' is no event type: it has 1 to 64 of a-z, 0-9, '.', '_' and '-'", to_valid_utf8(type)));
  }
  for (const std::string_view own : own_types) {
    if (type.starts_with(own)) {
      throw Error(ErrorCode::invalid_request,
                  fmt::format("event type '{}': what begins with '{}' is Sojourn's own", type, own));
    }
  }
}

}  // namespace

Serving::Scope::Scope(Serving& serving, std::shared_ptr<LiveCall> call, session::CallRequest request)
    : serving_(serving), call_(std::move(call)), request_(std::move(request)) {}

void Serving::Scope::emit(Json partial_output) {
  call_->publish(Update::Kind::partial, to_text(partial_output, {.bytes = limits::json_bytes}));
}

void Serving::Scope::emit_delta(Json delta) {
  call_->publish(Update::Kind::delta, to_text(delta, {.bytes = limits::json_bytes}));
}

void Serving::Scope::log(LogLevel level, std::string_view message, JsonObject fields) {
  serving_.append_log(level, "app", message, fields, &call_->task.id);
}

void Serving::Scope::record(std::string type, JsonObject data) {
  check_type(type);
  store::JsonText text = to_text(data, {.bytes = limits::event_bytes});
  if (events_.size() >= limits::events_per_commit || event_bytes_ + text.size() > limits::json_bytes) {
    throw Error(ErrorCode::too_large,
                fmt::format("a call records at most {} events and {} bytes between two checkpoints",
                            limits::events_per_commit, limits::json_bytes));
  }
  event_bytes_ += text.size();
  if (type == "algorithm.step") serving_.surroundings_.counts.step_finished(serving_.app_->info().name, data);
  events_.push_back(
      {.type = std::move(type), .actor = "app", .data = std::move(text), .time = serving_.surroundings_.clock.now()});
}

Async<void> Serving::Scope::checkpoint() {
  session::Step step{.events = take_events(), .state = session().state().changes()};
  event_bytes_ = 0;
  step.events.push_back(
      {.type = "call.checkpoint",
       .actor = "app",
       .data = fmt::format("{{\"task\":\"{}\",\"state\":{}}}", call_->task.id, session::state_hashes(step.state))});
  step.change = [now = serving_.surroundings_.clock.now()](store::SessionHead& head) { head.last_call_at = now; };
  co_await serving_.commit(std::move(step));
}

Async<Json> Serving::Scope::call_app(std::string app, std::string function, Json input) {
  co_return co_await serving_.surroundings_.call_app(std::move(app), std::move(function), std::move(input),
                                                     call_->actor);
}

Async<void> Serving::Scope::cancel_wait() {
  const std::shared_ptr<LiveCall> call = call_;
  while (!call->cancel_requested() && !call->is_final()) co_await call->cancel_event().wait();
}

}  // namespace sojourn::runtime
