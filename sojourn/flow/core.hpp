#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/flow/context.hpp"
#include "sojourn/flow/crossing.hpp"
#include "sojourn/flow/event_lines.hpp"
#include "sojourn/flow/flow_log.hpp"
#include "sojourn/flow/job.hpp"
#include "sojourn/flow/publisher.hpp"
#include "sojourn/flow/record.hpp"
#include "sojourn/flow/saved_state.hpp"
#include "sojourn/flow/settings.hpp"

// What a session and its running calls share. Not for programs: they have Session and Scope.
namespace sojourn::flow {

struct Run;
class RunJournal;

// Lifetime: shared by the session and its runs, of which one may be stuck in a node when the session is gone.
struct Core : std::enable_shared_from_this<Core> {
  // Without a clock, the machine's. Errors: invalid_request for a run_identifier that is no session's id.
  Core(Strategy& run_on, Clock* given_clock, Settings settings, std::shared_ptr<RunJournal> kept_in);

  void ended(const std::shared_ptr<Run>& run);

  // Delivers what waits, ends the events, and saves the session. What cannot be written is logged. Once; blocks.
  void conclude();

  // Likewise on a thread of its own, where there is anything to wait for. Cancel: waits all the same.
  Async<void> conclude_elsewhere();

  SavedSession saved() const;
  const std::filesystem::path& home() const { return home_; }

  // Calls `wake` as soon as nothing runs.
  void when_idle(std::function<void()> wake);

  Strategy& strategy;
  SystemClock machine_clock;
  Clock& clock;
  const std::shared_ptr<RunJournal> journal;  // null for a session that is not kept; shared with the program
  const Config config;
  const Time started;
  const std::string id;
  const Uuid uuid;
  const FlowLog log;
  Context context;
  Record record;
  Publisher publisher;

  std::atomic<bool> closed = false;

  std::mutex mutex;
  std::condition_variable changed;      // when a run has ended
  std::uint64_t next_place = 0;         // of a call from outside
  std::set<std::shared_ptr<Run>> runs;  // those that run
  std::vector<std::function<void()>> waiting;

 private:
  void follow_broadcasts();
  void follow_events();
  void save(const Graph& graph) const;
  void end_events(const Graph& graph);
  void try_to(std::string_view problem, const std::function<void()>& action) const;
  void warn(std::string_view what, const std::exception_ptr& error) const;

  std::once_flag concluded_;
  std::filesystem::path home_;          // where it is saved; empty if it is not
  std::shared_ptr<EventLines> events_;  // shared with the subscriber that writes them
};

// One call from outside with all it leads to.
struct Run {
  Run(std::shared_ptr<Core> in, Instant until);

  // Ends the run: all that runs is asked to stop, and the caller gets `cause`. The first cause counts: false for any
  // other. Threads: safe.
  bool stop(Error cause);
  std::optional<Error> cause() const;

  // Interrupts `waiter` when the run is stopped, now if it has been.
  void interrupt_when_stopped(std::shared_ptr<Crossing> waiter);

  const std::shared_ptr<Core> core;
  const Instant deadline;
  const std::shared_ptr<Job> root;
  std::uint64_t place = 0;  // among the session's calls from outside

 private:
  mutable std::mutex mutex_;
  std::optional<Error> cause_;
  std::shared_ptr<Crossing> waiter_;
};

}  // namespace sojourn::flow
