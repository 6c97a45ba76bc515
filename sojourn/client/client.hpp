#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "sojourn/client/async_client.hpp"
#include "sojourn/client/loop_thread.hpp"

// A Sojourn server, for programs without an event loop: each method waits for what it asks.
//
// Errors and retries: as of AsyncClient, whose methods have the same names.
namespace sojourn::client {

class Session;
class TaskStream;

// Threads:  any number may use one client at once; it keeps one thread of its own for its connections.
// Lifetime: outlives its sessions and streams.
class Client {
 public:
  // What SOJOURN_URL, SOJOURN_API_KEY and SOJOURN_TIMEOUT say. Errors: config_invalid, as of the others.
  Client();
  explicit Client(std::string url, std::string api_key = {});
  explicit Client(Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Calls an app and waits for the call's end. Errors: CallFailed.
  Task run(RunRequest request);

  // Calls an app, and returns as soon as the call is taken in, durably.
  Task start(RunRequest request);

  // A call as it stands; none of its failures is thrown. Errors: task_not_found.
  Task task(const std::string& task_id);

  // A call once it is over. Errors: CallFailed, task_not_found.
  Task wait(const std::string& task_id, std::optional<Milliseconds> timeout = std::nullopt);

  // Asks a call to stop, and does not wait for that.
  Task cancel(const std::string& task_id);

  // What a call said, at most 1,000 lines at once.
  JsonArray logs(const std::string& task_id, std::uint64_t from = 1);

  // Follows a call, from now or from its beginning; without `timeout` as long as it takes.
  TaskStream stream(const std::string& task_id, std::optional<Milliseconds> timeout = std::nullopt);

  // A new session, which ends with the object that is returned.
  Session session(NewSession request);

  // The session with this id, which ends only when it is told to. Asks nothing of the server.
  Session attach(const std::string& session_id);

  FoundSessions sessions(SessionQuery query = {});
  JsonArray apps();

  // Uploads a file, and returns the `uri` by which inputs of calls name it. Errors: also io_error.
  std::string upload(NewFile file);
  std::string upload_file(const std::filesystem::path& path,
                          const std::string& content_type = "application/octet-stream");

  // Fetches a file by its `uri`. Errors: not_found; also io_error.
  std::string download(const std::string& uri);
  void download_file(const std::string& uri, const std::filesystem::path& path);

  // For what this class has no words for.
  Reply ask(Question question);

 private:
  friend class Session;
  friend class TaskStream;

  SystemClock clock_;
  std::optional<LoopThread> loop_;
  std::optional<AsyncClient> async_;
};

// One session. Unless it was attached or released it ends with this object, whatever happens; errors of that end are
// dropped, so call end() where they matter. Threads: any number, but one to move or destroy it.
class Session {
 public:
  Session(Session&& other) noexcept;
  Session& operator=(Session&&) = delete;
  ~Session();

  const std::string& id() const { return session_.id(); }

  // Lets the session go on without this object, and returns its id.
  const std::string& release();

  // Calls the session's app, and waits for the call's end. Errors: CallFailed; is_session_gone().
  Task call(Json input = nullptr, std::string function = {}, CallOptions options = {});

  // Calls the session's app and follows the call.
  TaskStream stream(Json input = nullptr, std::string function = {}, CallOptions options = {});

  // As of AsyncSession.
  JsonObject info();
  JsonObject keepalive();
  void end();
  JsonObject state();
  std::optional<Json> get_state(const std::string& key);
  void set_state(const std::string& key, Json value);
  void delete_state(const std::string& key);
  JsonArray events(std::uint64_t from = 1);

 private:
  friend class Client;
  Session(Client& client, AsyncSession session, bool is_owned);

  Client* client_;
  AsyncSession session_;
  bool is_owned_;
};

// Each update of a call:  while (const auto update = stream.next()) { ... stream.task() ... }
// Threads: one at a time.
class TaskStream {
 public:
  TaskStream(TaskStream&&) noexcept = default;
  TaskStream& operator=(TaskStream&&) = delete;
  ~TaskStream();

  // As of AsyncTaskStream.
  std::optional<Update> next();
  Task result();
  const Task& task() const { return stream_->task(); }

 private:
  friend class Client;
  TaskStream(Client& client, AsyncTaskStream stream);

  Client* client_;
  std::unique_ptr<AsyncTaskStream> stream_;
};

}  // namespace sojourn::client
