#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sojourn/base/random.hpp"
#include "sojourn/flow/crossing.hpp"
#include "sojourn/flow/graph.hpp"
#include "sojourn/flow/strategy.hpp"
#include "sojourn/session/journal.hpp"
#include "sojourn/session/kept_session.hpp"
#include "sojourn/store/store.hpp"

// The journal of a flow, kept in a session of a store as the flow goes, so that it can go on after a crash.
//
// Each call has a key: it follows from its caller's and from its place among its caller's calls. When the program is
// started again and makes the same calls, those that had ended are not run: their outcome is taken from the journal.
// One that had begun and not ended is run again if its node is replay-safe; else nobody knows what it did.
namespace sojourn::flow {

using CallKey = std::uint64_t;

// The key of the call that is the `place`-th of those made by `caller`; 0 is outside of all nodes.
CallKey key_below(CallKey caller, std::uint64_t place);

// Lifetime: shared by the program and the sessions that use it. Threads: safe, unless a function says otherwise.
class RunJournal : public std::enable_shared_from_this<RunJournal> {
 public:
  // Begins a journal in a new session of `store`, or goes on with session `id`. Blocks, as Strategy::run() does.
  // Lifetime: strategy, store and clock outlive it; the strategy also the store.
  // Errors:   those of the store; session_not_found; session_ended for one that was ended; invalid_request for a
  //           session that is no flow's.
  static std::shared_ptr<RunJournal> begin(Strategy& strategy, store::Store& store, Clock& clock);
  static std::shared_ptr<RunJournal> resume(Strategy& strategy, store::Store& store, Clock& clock, std::string id);

  const std::string& id() const { return id_; }  // of the session in the store

  // Says that a call begins. Its output, as JSON, if it had ended before.
  // Durable: when it returns. Nothing is written of a node that is replay-safe.
  // Errors:  uncertain for a call that had begun, had not ended, and is not replay-safe; app_error with the message
  // of
  //          one that had failed; conflict if the flow made another call in this place; those of the store.
  // Cancel:  throws cancelled. Threads: on `lane`.
  Async<Text> begin_call(Executor lane, CallKey key, const NodeType& node, const std::string& input);

  // Says what came of it.
  // Durable: when it returns, for a node that is not replay-safe; soon after, for one that is, and for a failure.
  // Errors:  those of the store. Cancel: throws cancelled; the journal gets it all the same.
  Async<void> complete_call(Executor lane, CallKey key, const NodeType& node, const std::string& input,
                            const std::string& output);
  void fail_call(CallKey key, const NodeType& node, const std::string& input, const Failure& failure);

  // Returns when all that was said is durable. Errors: those of the store.
  Async<void> flush(Executor lane);

  // Ends the session: it cannot be resumed any more. Blocks.
  void end();

 private:
  struct Known {
    std::string node;   // "" where only parts of an output came
    std::string input;  // its hash
    bool is_over = false;
    std::string output;
    std::optional<Failure> failure;
  };

  RunJournal(Strategy& strategy, Clock& clock) : strategy_(strategy), clock_(clock), home_(strategy.new_lane()) {}

  static Async<void> open_new(std::shared_ptr<RunJournal> self, store::Store& store);
  static Async<void> open_old(std::shared_ptr<RunJournal> self, store::Store& store, std::string id);
  static Async<void> write(std::shared_ptr<RunJournal> self);
  static Async<void> finish(std::shared_ptr<RunJournal> self);
  void learn(const JsonObject& body);

  // Puts an event in the queue, to be committed with whatever waits; `told` arrives when it is durable.
  void say(std::string type, std::string data, std::shared_ptr<Crossing> told);
  bool is_full();
  static Async<void> wait_for(std::shared_ptr<Crossing> told);

  Strategy& strategy_;
  Clock& clock_;
  const Executor home_;  // where the session is used
  SystemRandom random_;
  std::string id_;
  std::unique_ptr<session::KeptSession> kept_;  // on home_
  std::unordered_map<CallKey, Known> known_;    // of the runs before; not changed after it was opened

  std::mutex mutex_;
  std::deque<session::NewEvent> waiting_;
  std::vector<std::shared_ptr<Crossing>> told_;  // of those that wait
  bool writing_ = false;
  std::exception_ptr broken_;  // why nothing more can be written
};

}  // namespace sojourn::flow
