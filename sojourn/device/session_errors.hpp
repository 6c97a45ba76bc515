#pragma once

#include <functional>
#include <string>
#include <utility>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"

namespace sojourn::device {

// A device session that cannot go on, or could not begin.
class SessionError : public Error {
 public:
  SessionError(ErrorCode code, std::string message, std::string session_id = {});

  bool is_recoverable() const { return retryable(); }  // whether a new session may succeed
  const std::string& session_id() const { return session_id_; }

 private:
  std::string session_id_;
};

// What could not be cleaned up, all of it; the session is over all the same.
class ResourceCleanupError : public Error {
 public:
  // `failures` are objects with "id", "kind" and "message".
  explicit ResourceCleanupError(JsonArray failures);

  JsonArray failures() const;
};

// Adds one of those failures.
void add_failure(JsonArray& failures, std::string_view id, std::string_view kind, const Error& error);

// How often to try, and how long to wait between: each wait is twice the last.
struct Retry {
  int attempts = 3;
  Milliseconds first = Milliseconds(2000);
};

// Runs `operation` until it succeeds, fails with what no retry can help, or has failed Retry::attempts times.
// Errors: the last one's.
template <class T>
Async<T> with_retry(Clock& clock, Retry retry, std::function<Async<T>()> operation) {
  for (Milliseconds wait = retry.first;; wait *= 2) {
    try {
      co_return co_await operation();
    } catch (const Error& error) {
      if (!error.retryable() || --retry.attempts <= 0) throw;
    }
    co_await sleep_until(clock, clock.instant() + wait);
  }
}

}  // namespace sojourn::device
