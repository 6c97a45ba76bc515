#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sojourn/client/async_task_stream.hpp"
#include "sojourn/client/requests.hpp"
#include "sojourn/client/task.hpp"
#include "sojourn/client/transport.hpp"

// A Sojourn server, for coroutines on a loop of the caller's own. Client (client.hpp) is for programs without one.
//
// Errors of all: what the server refuses, with its code, message, details and whether a retry can help;
// connection_failed where there is no server, call_timeout past the operation's time.
// Retries: a request that did not arrive, and one that the server refused as too busy, is asked again. After a lost
// answer only what may be done twice is: reading, ending, setting state, and calls and new sessions, which carry an
// idempotency key so that they happen once.
namespace sojourn::client {

class AsyncSession;

// Threads:  on its executor, which must not run two things at once; any number of operations side by side.
// Lifetime: outlives its operations, sessions and streams.
class AsyncClient {
 public:
  // Errors: config_invalid.
  AsyncClient(Executor executor, Clock& clock, Options options);

  // Calls an app and waits for the call's end.
  // Errors: CallFailed for a call that failed; after connection_failed and call_timeout it may still go on, and
  //         details["task_id"] is its id if it is known.
  Async<Task> run(RunRequest request);

  // Calls an app, and returns as soon as the call is taken in, durably.
  Async<Task> start(RunRequest request);

  // A call as it stands. Errors: task_not_found; none for a call that failed.
  Async<Task> task(std::string task_id);

  // A call once it is over. Errors: CallFailed, task_not_found.
  Async<Task> wait(std::string task_id, std::optional<Milliseconds> timeout = std::nullopt);

  // Asks a call to stop, and does not wait for that; of one that is over nothing changes. Who may not read, by the
  // key's scopes, gets only where the call stands: its id, status and time.
  Async<Task> cancel(std::string task_id);

  // What a call said, from the line with this `seq` on: at most 1,000 lines, as docs/formats/http.md#log-line has
  // them.
  Async<JsonArray> logs(std::string task_id, std::uint64_t from = 1);

  // Follows a call, from now or from its beginning; without `timeout` as long as it takes.
  AsyncTaskStream stream(std::string task_id, std::optional<Milliseconds> timeout = std::nullopt);

  // A new session, without a call.
  Async<AsyncSession> session(NewSession request);

  // The session with this id. Asks nothing of the server.
  AsyncSession attach(std::string session_id);

  // Makes a session, gives it to `use`, and ends it whatever happens. Errors: what `use` throws, first of all.
  // Lifetime: `use` is kept until it is done, so it may be a capturing lambda that returns another function's Async.
  Async<void> in_session(NewSession request, std::function<Async<void>(AsyncSession)> use);

  Async<FoundSessions> sessions(SessionQuery query);

  // What the server can run.
  Async<JsonArray> apps();

  // Uploads a file, and returns the `uri` by which inputs of calls name it.
  Async<std::string> upload(NewFile file);

  // The bytes of a file, by its `uri`.
  Async<std::string> download(std::string uri);

  // For what this class has no words for. Errors: as of all.
  Async<Reply> ask(Question question);

 private:
  friend class AsyncSession;

  Async<Task> begin(RunRequest request, bool wait, Patience patience);
  std::string key_of(const std::string& given);

  Transport transport_;
  SystemRandom random_;
};

// One session of a client: a name for it, which may be copied and ends nothing when it goes.
// Its calls run one after the other, in the order in which they arrive.
class AsyncSession {
 public:
  AsyncSession() = default;
  AsyncSession(AsyncClient& client, std::string id) : client_(&client), id_(std::move(id)) {}

  const std::string& id() const { return id_; }

  // Calls the session's app, and waits for the call's end. Errors: as of AsyncClient::run, and is_session_gone().
  Async<Task> call(Json input = nullptr, std::string function = {}, CallOptions options = {});

  // Calls the session's app and follows the call.
  Async<AsyncTaskStream> stream(Json input = nullptr, std::string function = {}, CallOptions options = {});

  // The session as the server tells of it, also once it is over. Errors: session_not_found.
  Async<JsonObject> info();

  // Starts the idle time-out anew, and returns the session. Errors: is_session_gone().
  Async<JsonObject> keepalive();

  // Ends it, if it is not over. Errors: session_not_found.
  Async<void> end();

  // Its durable state from outside, as last committed; what is set takes its turn among the calls.
  Async<JsonObject> state();
  Async<std::optional<Json>> get_state(std::string key);
  Async<void> set_state(std::string key, Json value);
  Async<void> delete_state(std::string key);

  // Its journal from the event with this `seq` on, at most 1,000 events, each {"event", "hash"}.
  Async<JsonArray> events(std::uint64_t from = 1);

 private:
  std::string path() const { return "/sessions/" + path_segment(id_); }
  std::string state_path(const std::string& key) const { return path() + "/state/" + path_segment(key); }
  RunRequest request(Json input, std::string function, CallOptions options) const;
  Async<Reply> ask(http::Method method, std::string target, std::string body = {});

  AsyncClient* client_ = nullptr;
  std::string id_;
};

}  // namespace sojourn::client
