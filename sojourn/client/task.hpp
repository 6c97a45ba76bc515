#pragma once

#include <optional>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"

// A call as the server tells of it.
namespace sojourn::client {

class Task {
 public:
  Task() = default;

  // Shape: docs/formats/http.md#task.
  explicit Task(JsonObject json) : json_(std::move(json)) {}

  std::string id() const { return text("id"); }
  std::string session_id() const { return text("session_id"); }
  std::string status() const { return text("status_text"); }  // "queued", "running", "completed" ...
  std::int64_t status_number() const;                         // the same; 0 where nothing is known

  // Of a call that still runs its newest partial output; null while there is none.
  const Json& output() const;

  bool is_over() const;
  bool is_completed() const;

  // Why it failed or was cancelled, if it did.
  std::optional<Error> failure() const;

  // Errors: CallFailed, if it failed or was cancelled.
  void check() const;

  const JsonObject& json() const { return json_; }

 private:
  std::string text(std::string_view name) const;

  JsonObject json_;
};

// A call that was taken in and then failed or was cancelled: its error, and the call as last seen. Any other Error
// says that nothing was run; only after connection_failed and call_timeout that is not known.
class CallFailed : public Error {
 public:
  CallFailed(Error error, Task task) : Error(std::move(error)), task_(std::move(task)) {}

  const Task& task() const { return task_; }

 private:
  Task task_;
};

// Whether a session is over or was never there, so that a new one must be started.
bool is_session_gone(const Error& error);

}  // namespace sojourn::client
