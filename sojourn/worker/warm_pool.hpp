#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/worker/process_worker.hpp"

// Workers that were started and greeted before a session needs them.
//
// A spare knows nothing of the session that it will serve, nor of its setup, so that any session of the app may have
// it. One that is taken or dies is replaced in the background.
namespace sojourn::worker {

// Threads: one executor.
class WarmPool {
 public:
  struct Options {
    std::string app;         // its name, for the log
    std::size_t wanted = 0;  // spares to keep
    // Starts a greeted worker, that tells `events`. Closes it where that fails.
    std::function<Async<std::unique_ptr<ProcessWorker>>(session::WorkerEvents& events, Instant deadline)> start;
    std::function<std::size_t()> room;  // how many spares there may be now
  };

  WarmPool(Executor executor, Clock& clock, const Log& log, Options options);
  ~WarmPool();  // asserts that it was closed
  WarmPool(const WarmPool&) = delete;
  WarmPool& operator=(const WarmPool&) = delete;

  // Begins to keep spares.
  void begin();

  // A spare, or null when there is none. `events` is told what it wrote so far.
  std::unique_ptr<ProcessWorker> take(session::WorkerEvents& events);

  // The room may have changed.
  void look() { changed_.notify_all(); }

  std::size_t size() const;

  // Ends all spares. Idempotent.
  Async<void> close();

 private:
  struct Spare;

  Async<void> keep();
  Async<bool> add_one();
  Async<bool> bury();

  Clock& clock_;
  const Log& log_;
  Options options_;
  TaskGroup group_;
  std::list<std::unique_ptr<Spare>> spares_;
  Event changed_;
  int failures_ = 0;  // since the last that was taken
  bool closed_ = false;
};

}  // namespace sojourn::worker
