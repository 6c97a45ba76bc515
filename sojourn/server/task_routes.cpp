#include <fmt/format.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/ask.hpp"
#include "sojourn/server/query.hpp"
#include "sojourn/server/run_body.hpp"
#include "sojourn/server/task_logs.hpp"

// What is asked of calls: /apps/run and /tasks.
namespace sojourn::server {

namespace {

// Why there was no worker for the call, where a later one may find one: the machine, or the range of user ids, is
// short.
std::optional<Error> shortage_of(const runtime::TaskView& view) {
  if (view.task.status != store::TaskStatus::failed) return std::nullopt;
  const Error error = Error::from_json(parse_json_object(view.task.error));
  if (error.code() != ErrorCode::unavailable || !error.details().contains("worker")) return std::nullopt;
  JsonObject details = error.details();
  details["session_id"] = view.task.session_id;
  details["task_id"] = view.task.id;
  return Error(error.code(), error.message(), std::move(details)).set_retryable(true);
}

Async<void> end_unless_over(runtime::Runtime& runtime, std::string session_id, std::string actor) {
  try {
    co_await runtime.end_session(session_id, std::move(actor));
  } catch (const Error&) {
    // Without `recover` it may have failed by then, which is as good; what stays active otherwise ends by its
    // time-out.
  }
}

}  // namespace

// An upload goes when it was not named for long, so a call that names one cannot be put off for long.
void Api::check_files_last(const runtime::RunRequest& request) const {
  constexpr Seconds most = limits::unused_upload_time / 2;
  if (!request.names_files || !request.run_at || *request.run_at <= clock_.now() + most) return;
  throw Error(ErrorCode::invalid_request,
              fmt::format("'run_at' of a call whose input names files is at most {} hours ahead, since files that "
                          "were uploaded do not stay",
                          most / Seconds(3'600)),
              {{"field", "run_at"}});
}

Async<void> Api::run(Ask& ask) {
  runtime::RunRequest request = read_run_body(ask.request.body);
  request.idempotency_key = read_idempotency_key(ask.request);
  request.actor = ask.caller.name;
  if (options_.files != nullptr) {
    const std::set<std::string> files = files_in(request.input);
    request.names_files = !files.empty();
    check_files_last(request);
    for (const std::string& id : files) co_await options_.files->calls.find(id, ask.caller);
  }
  if (request.webhook) {
    if (options_.webhooks == nullptr) throw Webhooks::not_set_up();
    request.webhook = co_await options_.webhooks->accept(std::move(request.webhook->url), ask.bare);
  }
  // A retry with the same key would find this call again.
  const bool opens = request.session.empty() || request.session == "new";
  const bool may_be_retried = opens && request.wait && request.idempotency_key.empty();
  const runtime::TaskView view = co_await runtime_.run(std::move(request));
  if (may_be_retried) {
    if (const auto shortage = shortage_of(view)) {
      co_await end_unless_over(runtime_, view.task.session_id, ask.caller.name);
      throw Error(*shortage);
    }
  }
  co_await ask.answer(200, task_json(view));
}

Async<void> Api::get_task(Ask& ask) {
  co_await ask.answer(200, task_json(co_await runtime_.task(ask.captures.at(0))));
}

Async<void> Api::get_task_status(Ask& ask) {
  co_await ask.answer(200, task_status_json(co_await runtime_.task(ask.captures.at(0))));
}

Async<void> Api::stream(Ask& ask) {
  const auto accept = ask.request.headers.find("Accept").value_or("");
  const bool sse = accept.find("text/event-stream") != std::string_view::npos;
  co_await stream_task(runtime_, clock_, ask.captures.at(0), sse ? StreamFormat::sse : StreamFormat::ndjson,
                       options_.stream, ask.responder);
}

Async<void> Api::get_task_logs(Ask& ask) {
  const std::uint64_t limit = whole_number(ask.target, "limit", default_page, largest_page);
  const std::uint64_t from = whole_number(ask.target, "from", 1, INT64_MAX);
  const runtime::TaskView view = co_await runtime_.task(ask.captures.at(0));
  co_await ask.answer(200, co_await task_logs(store_, view.task.session_id, view.task.id, from, limit));
}

Async<void> Api::cancel_task(Ask& ask) {
  const std::string& id = ask.captures.at(0);
  const auto live = runtime_.live_call(id);
  // Who called is known while the call is not over.
  const bool may_see = ask.caller.scopes.allow(Scope::apps_read) || (live && live->actor == ask.caller.name);
  const runtime::TaskView view = co_await runtime_.cancel(id);
  co_await ask.answer(200, may_see ? task_json(view) : task_status_json(view));
}

}  // namespace sojourn::server
