#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/flow/context.hpp"
#include "sojourn/flow/graph.hpp"
#include "sojourn/flow/job.hpp"
#include "sojourn/flow/node.hpp"

// What a running node may do: call other nodes, share values, see that it should stop.
namespace sojourn::flow {

struct Run;
class ChunkSink;
class Scope;

// What came of one call of a batch.
template <class Result>
using Outcome = std::expected<Result, std::exception_ptr>;

struct BatchOptions {
  std::size_t width = 1'024;  // of the batch's calls run at once, at most
};

// Called with each chunk of a call's answer that its node emits, in order, on the lane of the node, which waits for
// it. What it throws, the node gets. It is not called any more once the call has returned.
using OnChunk = std::function<void(const Json& chunk)>;

struct CallOptions {
  OnChunk on_chunk;
};

// Where a call comes from: the node that makes it, or null; which of its calls it is; who takes its chunks, if
// anybody.
struct Origin {
  const Scope* caller;  // waits for the call, so it outlives it
  std::uint64_t place;
  std::shared_ptr<ChunkSink> chunks = nullptr;  // shared with who waits for the call
};

// A node that is deeper than this below the call from outside is taken for one that calls itself without end.
inline constexpr std::uint32_t max_depth = 100'000;

// A call of a node of any type that is still to be made: by `caller`, as its `place`-th.
using AnyCall = std::function<Async<void>(Run& run, Job& job, const Scope& caller, std::uint64_t place)>;

// An exception that ends the run whatever the callers of the node catch.
class Fatal : public Error {
 public:
  explicit Fatal(std::string message) : Error(ErrorCode::app_error, std::move(message)) {}
};

// Lifetime: one per call, until the node returns.
// Threads:  on the lane of the call. Its context is shared with all nodes.
class Scope {
 public:
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // Calls `node` and returns its result, or throws what it threw, the same object.
  // Errors: cancelled when the run was stopped; the node does not begin then.
  // Cost:   without recording, two coroutine frames; a plain function runs inside the call.
  template <class Result, class... Arguments>
  Async<Result> call(Node<Result, Arguments...> node, std::type_identity_t<Arguments>... arguments);
  template <class Result, class... Arguments>
  Async<Result> call(CallOptions options, Node<Result, Arguments...> node,
                     std::type_identity_t<Arguments>... arguments);

  // Calls `node` with the first of each column, with the second of each, and so on to the end of the shortest, at the
  // same time; returns what came of each, in that order.
  // Errors: cancelled when the run was stopped; the outcomes are lost then.
  template <class Result, class... Arguments>
  Async<std::vector<Outcome<Result>>> call_batch(Node<Result, Arguments...> node,
                                                 std::vector<std::type_identity_t<Arguments>>... columns) {
    return call_batch(BatchOptions(), std::move(node), std::move(columns)...);
  }
  template <class Result, class... Arguments>
  Async<std::vector<Outcome<Result>>> call_batch(BatchOptions options, Node<Result, Arguments...> node,
                                                 std::vector<std::type_identity_t<Arguments>>... columns);

  // Likewise, but the first error of any stops the others and is thrown.
  template <class Result, class... Arguments>
  Async<std::vector<Result>> call_all(Node<Result, Arguments...> node,
                                      std::vector<std::type_identity_t<Arguments>>... columns) {
    return call_all(BatchOptions(), std::move(node), std::move(columns)...);
  }
  template <class Result, class... Arguments>
  Async<std::vector<Result>> call_all(BatchOptions options, Node<Result, Arguments...> node,
                                      std::vector<std::type_identity_t<Arguments>>... columns);

  // Makes these calls at the same time, as a batch; what comes of each is its own to keep.
  // Errors: cancelled when the run was stopped.
  Async<void> call_each(std::vector<AnyCall> calls, BatchOptions options = {});

  // Shared by all nodes of the session.
  Context& context() const;

  // Whether the session fills in messages to models from its context.
  bool injects_prompts() const;

  // Records what a model was asked and answered, as one of the node's llm_details.
  void note_model_call(ModelCall asked) const;

  Clock& clock() const;

  // Tells the session's subscribers, and its broadcast callback, without waiting for them.
  void broadcast(Json item) const;

  // Gives a chunk of this node's answer to who called it, if they take chunks.
  void emit(const Json& chunk) const;
  bool is_streamed() const { return origin_.chunks != nullptr; }

  // A line in the session's log. Never throws.
  void log(LogLevel level, std::string_view message, const JsonObject& fields = {}) const noexcept;

  // Whether the node should return soon: nobody waits for what it does any more.
  bool is_cancelled() const noexcept { return job_.is_cancelled(); }

  // When the run is stopped.
  Instant deadline() const;

  const std::string& session_id() const;
  const std::string& node_name() const { return type_->name; }
  std::uint32_t depth() const { return depth_; }  // 0 for the node that was called from outside

  // The names of the nodes from the one called from outside down to this one.
  std::vector<std::string> path() const;

  std::optional<CallId> call_id() const { return id_; }  // in the session's record; nothing if it keeps none

 private:
  friend class Call;
  friend Async<Json> detail::call_elsewhere(Scope& scope, JsonArray arguments);
  template <class Result, class... Arguments>
  friend Async<Result> invoke(Run& run, Job& job, Origin origin, Node<Result, Arguments...> node,
                              Arguments... arguments);

  // The index of the call that stopped the others, if one did. Cancel: as fan_out().
  template <class Result, class... Arguments>
  Async<std::optional<std::size_t>> run_batch(std::vector<Outcome<Result>>& outcomes, bool stop_at_error,
                                              BatchOptions options, Node<Result, Arguments...> node,
                                              std::vector<Arguments>&... columns);
  Strategy& strategy() const;
  std::size_t width_of(BatchOptions options, bool is_plain) const;

  Scope(Run& run, Job& job, Origin origin, std::shared_ptr<const NodeType> type);

  Run& run_;
  Job& job_;
  const Origin origin_;
  std::shared_ptr<const NodeType> type_;
  std::uint32_t depth_;
  std::uint64_t key_;         // by which a journal knows the call
  std::uint64_t places_ = 0;  // the calls that it has made so far
  std::optional<CallId> id_;
};

}  // namespace sojourn::flow

#include "sojourn/flow/call.hpp"  // IWYU pragma: export
