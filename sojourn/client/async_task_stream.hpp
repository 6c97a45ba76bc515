#pragma once

#include <memory>
#include <optional>
#include <string>

#include "sojourn/client/task.hpp"
#include "sojourn/client/transport.hpp"

// Follows a call until it is over, on as many connections as that takes.
namespace sojourn::client {

// One step of a call that is followed; the call as it stands then is the stream's task().
struct Update {
  bool status_changed = false;
  bool output_changed = false;
  std::string event{};    // "delta" for what the app emitted as such; "" where the call itself changed
  Json data = nullptr;    // of the event
  std::uint64_t seq = 0;  // grows from delta to delta
};

// A lost or silent connection is replaced, and what was told before is not told again. What came meanwhile is told as
// the state that it led to; deltas of that time may be lost. Destroying a stream ends nothing but the stream.
// Threads: one coroutine at a time.
class AsyncTaskStream {
 public:
  AsyncTaskStream(Transport& transport, std::string task_id, std::optional<Milliseconds> timeout);
  AsyncTaskStream(AsyncTaskStream&&) noexcept;
  AsyncTaskStream& operator=(AsyncTaskStream&&) noexcept;
  ~AsyncTaskStream();

  // The next update; the last one is the call's end, and after it there is nothing.
  // Errors: CallFailed after the last update of a call that failed; task_not_found; connection_failed or call_timeout
  //         (details: "task_id") where it cannot be followed any longer, though it may go on.
  Async<std::optional<Update>> next();

  // The call once it is over. Errors: as next().
  Async<Task> result();

  // The call as last told.
  const Task& task() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sojourn::client
