#pragma once

#include <memory>
#include <optional>
#include <string>

#include "sojourn/flow/publisher.hpp"
#include "sojourn/flow/scope.hpp"
#include "sojourn/flow/settings.hpp"
#include "sojourn/flow/strategy.hpp"

// A flow session: what nodes are called in. It wires the strategy that runs them, the context that they share and the
// record of what they did.
//
//     flow::ThreadPool pool;
//     flow::Session session(pool, {.timeout = Seconds(5)});
//     const std::string text = session.call_sync(report, "README.md");
namespace sojourn::flow {

struct Core;
class RunJournal;

struct SessionInfo {
  std::string id;
  std::string uuid;  // by which its saved state knows it
  bool closed = false;
  std::size_t running = 0;  // calls from outside that are not over
  Time started;
  Graph graph;  // every call up to now

  std::optional<Json> answer() const { return graph.answer(); }
  CallStatus status() const;  // open while a call from outside is; failed if one has
};

// Sessions may be nested: each works by itself, and the innermost that a thread has made and not closed is its
// current one. When it is closed, the one before is current again.
//
// Threads: safe, but for construction, close and destruction.
class Session {
 public:
  // Lifetime: strategy and clock outlive it.
  // Errors: invalid_request for a run_identifier that is no session's id; config_invalid; io_error for a log file.
  // With a journal every call is kept in it and its id is the session's; a call from outside returns when the journal
  // is durable.
  explicit Session(Strategy& strategy, Settings settings = {});
  Session(Strategy& strategy, Clock& clock, Settings settings, std::shared_ptr<RunJournal> journal = nullptr);

  // Closes it. Calls that still run are stopped; on a ThreadPool it waits for them, for `grace` at most. Errors are
  // logged.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Calls `node` from outside, and resumes on the caller's executor (which runs one thing at a time) with its result,
  // or with what it threw, the same object.
  // Errors: call_timeout when the session's time-out has passed; app_error where an error ended the run
  // (end_on_error,
  //         Fatal), naming the node; session_ended after close().
  // Cancel: stops the run, and waits until it has stopped. A run that does not stop is left alone after the grace.
  template <class Result, class... Arguments>
  Async<Result> call(Node<Result, Arguments...> node, std::type_identity_t<Arguments>... arguments) {
    return call<Result, Arguments...>(CallOptions(), std::move(node), std::move(arguments)...);
  }
  template <class Result, class... Arguments>
  Async<Result> call(CallOptions options, Node<Result, Arguments...> node,
                     std::type_identity_t<Arguments>... arguments);

  // Likewise, for a thread that may wait. Errors: those of call(); invalid_request from inside a node.
  template <class Result, class... Arguments>
  Result call_sync(Node<Result, Arguments...> node, std::type_identity_t<Arguments>... arguments) {
    return call_sync<Result, Arguments...>(CallOptions(), std::move(node), std::move(arguments)...);
  }
  template <class Result, class... Arguments>
  Result call_sync(CallOptions options, Node<Result, Arguments...> node,
                   std::type_identity_t<Arguments>... arguments);

  const std::string& id() const;
  Context& context();
  Publisher& publisher();  // subscribe to it; the session publishes
  void broadcast(Json item);
  const Config& config() const;
  SessionInfo info() const;

  // The graph as it was when `step` steps had been taken.
  Graph graph_at(std::uint32_t step) const;

  // Its first calls, at most as many, and how many there are. Cheaper than info() while many run.
  Graph beginning(std::size_t calls) const;
  std::size_t size() const;

  // The saved state as it is now, JSON: docs/formats/saved-flow.md. Also after the session is closed.
  std::string payload() const;

  // Stops what runs, without waiting for it: the callers get cancelled. Later calls run as ever.
  void cancel();

  // Stops what runs and waits for it, then for the subscribers, for `grace` at most each; then saves the session, if
  // save_state says so. What cannot be saved is logged. Later calls fail with session_ended. Idempotent.
  Async<void> close();

  // Where it is saved when it is closed.
  std::filesystem::path saved_to() const;

  // The current session of the calling thread, or null.
  static Session* current();

 private:
  // A run that is counted among those of the session. Errors: session_ended.
  std::shared_ptr<Run> begin_run(const std::string& node) const;

  // Runs `work` as the run's first job, until it is over or the run was stopped.
  static Async<void> finish(std::shared_ptr<Run> run, Async<void> work, std::string node);

  void run_here(Async<void> work);
  void stop_runs(const char* why, bool for_good);
  void leave_thread();

  struct Place;
  std::shared_ptr<Place> place_;  // among its thread's sessions; shared with the thread's list of them
  std::shared_ptr<Core> core_;    // shared with the runs, of which one may be stuck in a node
};

namespace detail {

struct FirstJob {
  std::shared_ptr<Job> job;
  std::uint64_t place;
};
FirstJob first_job(const Run& run);

template <class Result, class... Arguments>
Async<void> run_first(std::shared_ptr<Run> run, std::shared_ptr<std::optional<Stored<Result>>> slot,
                      std::shared_ptr<ChunkSink> chunks, Node<Result, Arguments...> node, Arguments... arguments) {
  const FirstJob first = first_job(*run);
  Origin origin{.caller = nullptr, .place = first.place, .chunks = std::move(chunks)};
  if constexpr (std::is_void_v<Result>) {
    co_await invoke<Result, Arguments...>(*run, *first.job, std::move(origin), std::move(node),
                                          std::move(arguments)...);
    slot->emplace();
  } else {
    slot->emplace(co_await invoke<Result, Arguments...>(*run, *first.job, std::move(origin), std::move(node),
                                                        std::move(arguments)...));
  }
}

template <class Result>
Async<void> keep(Async<Result> work, std::optional<Stored<Result>>& slot) {
  if constexpr (std::is_void_v<Result>) {
    co_await std::move(work);
  } else {
    slot.emplace(co_await std::move(work));
  }
}

}  // namespace detail

template <class Result, class... Arguments>
Async<Result> Session::call(CallOptions options, Node<Result, Arguments...> node,
                            std::type_identity_t<Arguments>... arguments) {
  const auto run = begin_run(node.name());
  // Shared with the run, which may outlast this call if it does not stop when it is told to.
  const auto slot = std::make_shared<std::optional<Stored<Result>>>();
  // Likewise. Closed when the call returns.
  const auto chunks = options.on_chunk ? std::make_shared<ChunkSink>(std::move(options.on_chunk)) : nullptr;
  const std::unique_ptr<ChunkSink::Use> use = chunks ? std::make_unique<ChunkSink::Use>(*chunks) : nullptr;
  const std::string name = node.name();
  co_await finish(
      run, detail::run_first<Result, Arguments...>(run, slot, chunks, std::move(node), std::move(arguments)...),
      name);
  if constexpr (!std::is_void_v<Result>) co_return std::move(**slot);
}

template <class Result, class... Arguments>
Result Session::call_sync(CallOptions options, Node<Result, Arguments...> node,
                          std::type_identity_t<Arguments>... arguments) {
  std::optional<Stored<Result>> slot;
  run_here(detail::keep<Result>(
      call<Result, Arguments...>(std::move(options), std::move(node), std::move(arguments)...), slot));
  if constexpr (!std::is_void_v<Result>) return std::move(*slot);
}

// Calls `node` in the current session of this thread; without one, in a session and on a pool of its own.
template <class Result, class... Arguments>
Result call_sync(Node<Result, Arguments...> node, std::type_identity_t<Arguments>... arguments) {
  if (Session* session = Session::current()) return session->call_sync(std::move(node), std::move(arguments)...);
  ThreadPool pool;
  Session session(pool);
  return session.call_sync(std::move(node), std::move(arguments)...);
}

}  // namespace sojourn::flow
