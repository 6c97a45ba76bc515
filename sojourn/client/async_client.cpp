#include "sojourn/client/async_client.hpp"

#include <fmt/format.h>

#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::client {

namespace {

using http::Method;

constexpr std::size_t largest_page = 1'000;

Error odd_answer(const Transport& transport, std::string_view what) {
  return Error(ErrorCode::connection_failed,
               fmt::format("{} answered with what is no {}; is it a Sojourn server?", transport.options().url, what))
      .set_retryable(false);
}

JsonObject object_of(const Transport& transport, Json value, std::string_view what,
                     std::initializer_list<std::string_view> fields) {
  JsonObject* const object = value.if_object();
  const auto is_there = [&](std::string_view name) { return object->contains(name); };
  if (object == nullptr || !std::ranges::all_of(fields, is_there)) throw odd_answer(transport, what);
  return std::move(*object);
}

JsonObject session_of(const Transport& transport, Json value) {
  return object_of(transport, std::move(value), "session", {"id", "status"});
}

Task task_of(const Transport& transport, Json value) {
  return Task(object_of(transport, std::move(value), "task", {"id", "session_id", "status"}));
}

JsonArray array_of(const Transport& transport, Json value) {
  JsonArray* const array = value.if_array();
  if (array == nullptr) throw odd_answer(transport, "list");
  return std::move(*array);
}

std::string task_path(const std::string& id) {
  return "/tasks/" + path_segment(id);
}

}  // namespace

AsyncClient::AsyncClient(Executor executor, Clock& clock, Options options)
    : transport_(std::move(executor), clock, std::move(options)) {}

std::string AsyncClient::key_of(const std::string& given) {
  return given.empty() && transport_.options().retries > 0 ? random_.hex(16) : given;
}

Async<Task> AsyncClient::begin(RunRequest request, bool wait, Patience patience) {
  const std::string key = key_of(request.options.idempotency_key);
  JsonObject body = body_of(request);
  Question question{.method = Method::post, .target = "/apps/run", .is_safe = !key.empty()};
  // Only what can be asked for again by its key may be waited for in an answer that might get lost.
  body["wait"] = wait && question.is_safe;
  question.body = to_text(body);
  if (question.is_safe) {
    question.headers.add("Idempotency-Key", key);
    body["wait"] = false;
    question.next_body = to_text(body);
  }
  Reply reply = co_await transport_.ask(std::move(question), patience);
  co_return task_of(transport_, std::move(reply.value));
}

Async<Task> AsyncClient::run(RunRequest request) {
  const Patience patience = transport_.patience(request.options.timeout);
  Task task = co_await begin(std::move(request), true, patience);
  if (!task.is_over()) {
    const auto left = std::chrono::ceil<Milliseconds>(patience.end - transport_.clock().instant());
    co_return co_await stream(task.id(), left).result();
  }
  task.check();
  co_return task;
}

Async<Task> AsyncClient::start(RunRequest request) {
  const Patience patience = transport_.patience(request.options.timeout);
  return begin(std::move(request), false, patience);
}

Async<Task> AsyncClient::task(std::string task_id) {
  Reply reply = co_await ask({.target = task_path(task_id), .is_safe = true});
  co_return task_of(transport_, std::move(reply.value));
}

Async<Task> AsyncClient::wait(std::string task_id, std::optional<Milliseconds> timeout) {
  AsyncTaskStream following = stream(std::move(task_id), timeout.value_or(transport_.options().timeout));
  co_return co_await following.result();
}

Async<Task> AsyncClient::cancel(std::string task_id) {
  Reply reply = co_await ask({.method = Method::post, .target = task_path(task_id) + "/cancel", .is_safe = true});
  co_return Task(object_of(transport_, std::move(reply.value), "task", {"id", "status"}));
}

Async<JsonArray> AsyncClient::logs(std::string task_id, std::uint64_t from) {
  Reply reply = co_await ask(
      {.target = fmt::format("{}/logs?from={}&limit={}", task_path(task_id), from, largest_page), .is_safe = true});
  co_return array_of(transport_, std::move(reply.value));
}

AsyncTaskStream AsyncClient::stream(std::string task_id, std::optional<Milliseconds> timeout) {
  return AsyncTaskStream(transport_, std::move(task_id), timeout);
}

Async<AsyncSession> AsyncClient::session(NewSession request) {
  const std::string key = key_of(request.idempotency_key);
  Question question{
      .method = Method::post, .target = "/sessions", .body = to_text(body_of(request)), .is_safe = !key.empty()};
  if (question.is_safe) question.headers.add("Idempotency-Key", key);
  Reply reply = co_await ask(std::move(question));
  const JsonObject session = session_of(transport_, std::move(reply.value));
  const Json& id = session.at("id");
  if (!id.is_string()) throw odd_answer(transport_, "session");
  co_return attach(std::string(id.get_string()));
}

AsyncSession AsyncClient::attach(std::string session_id) {
  return AsyncSession(*this, std::move(session_id));
}

Async<void> AsyncClient::in_session(NewSession request, std::function<Async<void>(AsyncSession)> use) {
  AsyncSession own = co_await session(std::move(request));
  std::exception_ptr failure;
  try {
    co_await use(own);
  } catch (...) {
    failure = std::current_exception();
  }
  try {
    co_await own.end();
  } catch (...) {
    if (!failure) throw;  // else what happened first is what to tell
  }
  if (failure) std::rethrow_exception(failure);
}

Async<FoundSessions> AsyncClient::sessions(SessionQuery query) {
  FoundSessions found;
  std::string target = target_of(query);
  while (!target.empty() && found.sessions.size() < query.limit) {
    Reply reply = co_await ask({.target = target, .is_safe = true});
    for (Json& session : array_of(transport_, std::move(reply.value))) {
      if (found.sessions.size() < query.limit) {
        found.sessions.push_back(std::move(session));
      } else {
        found.has_more = true;
      }
    }
    target = std::move(reply.next);
  }
  found.has_more = found.has_more || !target.empty();
  co_return found;
}

Async<JsonArray> AsyncClient::apps() {
  Reply reply = co_await ask({.target = "/apps", .is_safe = true});
  co_return array_of(transport_, std::move(reply.value));
}

Async<std::string> AsyncClient::upload(NewFile file) {
  JsonObject announced{{"content_type", file.content_type}, {"size", file.bytes.size()}};
  if (!file.name.empty()) announced["filename"] = file.name;
  // An announcement that is made twice leaves one that is never used, which goes by itself.
  Reply reply = co_await ask({.method = Method::post,
                              .target = "/files",
                              .body = to_text(JsonObject{{"files", JsonArray{std::move(announced)}}}),
                              .is_safe = true});
  JsonArray uploads = array_of(transport_, std::move(reply.value));
  if (uploads.size() != 1) throw odd_answer(transport_, "list of one upload");
  const JsonObject upload = object_of(transport_, std::move(uploads[0]), "upload", {"uri", "upload_url"});
  const std::string url(upload.at("upload_url").as_string());
  const auto path = url.find("/files/");
  if (path == std::string::npos) throw odd_answer(transport_, "upload");

  Question question{
      .method = Method::put, .target = url.substr(path), .body = std::move(file.bytes), .is_safe = true};
  question.headers.add("Content-Type", file.content_type);
  Patience patience = transport_.patience();
  patience.silence = transport_.options().timeout;  // nothing is said while the bytes go
  try {
    co_await transport_.ask(std::move(question), patience);
  } catch (const Error& error) {
    // Only this client knows the address, so it was an earlier attempt, whose answer was lost.
    if (error.code() != ErrorCode::already_exists) throw;
  }
  co_return std::string(upload.at("uri").as_string());
}

Async<std::string> AsyncClient::download(std::string uri) {
  Question question{.target = file_target(uri), .is_safe = true};
  question.headers.add("Accept", "*/*");
  return transport_.fetch(std::move(question), transport_.patience());
}

Async<Reply> AsyncClient::ask(Question question) {
  return transport_.ask(std::move(question), transport_.patience());
}

RunRequest AsyncSession::request(Json input, std::string function, CallOptions options) const {
  return {.function = std::move(function), .input = std::move(input), .session = id_, .options = std::move(options)};
}

Async<Task> AsyncSession::call(Json input, std::string function, CallOptions options) {
  return client_->run(request(std::move(input), std::move(function), std::move(options)));
}

Async<AsyncTaskStream> AsyncSession::stream(Json input, std::string function, CallOptions options) {
  AsyncClient& client = *client_;
  const auto timeout = options.timeout;
  const Task task = co_await client.start(request(std::move(input), std::move(function), std::move(options)));
  co_return client.stream(task.id(), timeout);
}

Async<Reply> AsyncSession::ask(Method method, std::string target, std::string body) {
  return client_->ask({.method = method, .target = std::move(target), .body = std::move(body), .is_safe = true});
}

Async<JsonObject> AsyncSession::info() {
  const Transport& transport = client_->transport_;
  Reply reply = co_await ask(Method::get, path());
  co_return session_of(transport, std::move(reply.value));
}

Async<JsonObject> AsyncSession::keepalive() {
  const Transport& transport = client_->transport_;
  Reply reply = co_await ask(Method::post, path() + "/keepalive");
  co_return session_of(transport, std::move(reply.value));
}

Async<void> AsyncSession::end() {
  try {
    co_await ask(Method::del, path());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::session_not_found || !is_session_gone(error)) throw;
  }
}

Async<JsonObject> AsyncSession::state() {
  const Transport& transport = client_->transport_;
  Reply reply = co_await ask(Method::get, path() + "/state");
  co_return object_of(transport, std::move(reply.value), "state", {});
}

Async<std::optional<Json>> AsyncSession::get_state(std::string key) {
  try {
    co_return (co_await ask(Method::get, state_path(key))).value;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
  }
  co_return std::nullopt;
}

Async<void> AsyncSession::set_state(std::string key, Json value) {
  co_await ask(Method::put, state_path(key), to_text(value));
}

Async<void> AsyncSession::delete_state(std::string key) {
  co_await ask(Method::del, state_path(key));
}

Async<JsonArray> AsyncSession::events(std::uint64_t from) {
  const Transport& transport = client_->transport_;
  Reply reply = co_await ask(Method::get, fmt::format("{}/events?from={}&limit={}", path(), from, largest_page));
  co_return array_of(transport, std::move(reply.value));
}

}  // namespace sojourn::client
