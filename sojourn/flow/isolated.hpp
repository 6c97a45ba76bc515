#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sojourn/flow/app.hpp"

// Isolated nodes from both sides: what a session asks to run them, and what the process does that runs them.
namespace sojourn::flow {

struct IsolatedCall {
  std::string node;
  std::string path;  // the names from the node called from outside down to this one: "report > parse"
  JsonArray arguments;
  Instant deadline;  // when the run is stopped
};

// Runs isolated nodes in other processes. How is for whoever implements it: a flow knows no processes.
// Lifetime: outlives the sessions that use it.
class IsolatedCalls {
 public:
  virtual ~IsolatedCalls() = default;

  // Where call() runs: one thing at a time. Threads: safe.
  virtual Executor executor() = 0;

  // Runs the node of this name in another process, and returns its output.
  // Errors: what the node threw, as an Error: of one that was none an app_error whose details name its type ("type").
  //         worker_lost where the process ended first, worker_start_failed where there is none; both name node and
  //         path.
  // Cancel: stops the node there, with its process where it does not heed it, and returns when it has stopped.
  virtual Async<Json> call(IsolatedCall call) = 0;
};

namespace detail {

template <class Result, class... Arguments, std::size_t... place>
Async<Result> call_here(Session& session, const Node<Result, Arguments...>& node, const JsonArray& arguments,
                        std::index_sequence<place...>) {
  const std::string what = "an argument of isolated node \"" + node.name() + "\"";
  return session.call(node, from_json<Arguments>(arguments.at(place), what)...);
}

}  // namespace detail

// An isolated node as the process has it that runs it: a function, whose input is the array of the node's arguments.
// Errors: invalid_request for a node that is not isolated.
class IsolatedNode {
 public:
  template <class Result, class... Arguments>
  IsolatedNode(const Node<Result, Arguments...>& node)  // NOLINT: a node is one
      : function_(node.name(), [here = node.here()](Session& session, Json input) {
          return Function::output_of<Result>(
              detail::call_here(session, here, input.as_array(), std::index_sequence_for<Arguments...>()));
        }) {
    check(*node.type());
  }

  const std::string& name() const { return function_.name(); }
  const Function& function() const { return function_; }

 private:
  static void check(const NodeType& type);

  Function function_;
};

// The app with these nodes as its functions, for the process that runs them. Time is kept by who calls it.
// Lifetime: `strategy` outlives it. Errors: invalid_request for two of one name.
std::unique_ptr<session::App> isolated_app(Strategy& strategy, std::vector<IsolatedNode> nodes);

}  // namespace sojourn::flow
