#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "sojourn/base/async.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/flow/conversion.hpp"

// A node: a named function whose calls a flow session runs and records.
//
//     const auto word_count = flow::node("word count", [](std::string text) { ... return words; });
//     const auto report = flow::node("report", [=](flow::Scope& scope, std::string text) -> Async<std::string> {
//       const int words = co_await scope.call(word_count, text);
//       ...
//     });
//
// A function may take the Scope first; one that calls other nodes is a coroutine. What else it takes, and what it
// returns, converts to and from JSON. The captures of a coroutine lambda live as long as its call.
//
// A node marked `isolated("parse")` runs in another process, that of whoever runs isolated nodes for the session
// (Settings::isolated). It takes no Scope, for the session is not there.
namespace sojourn::flow {

class Scope;

// What people and the record know of a node.
struct NodeType {
  NodeType(std::string node_name) : name(std::move(node_name)) {}  // NOLINT: a name is a node type in short
  NodeType(const char* node_name) : name(node_name) {}             // NOLINT
  NodeType(std::string node_name, std::string node_kind) : name(std::move(node_name)), kind(std::move(node_kind)) {}

  std::string name;
  std::string kind = "Tool";  // "Tool", "Agent", or what the saved state's readers show as "Other"

  // Whether a call of it that a crash cut short may be made again. One that calls others and does nothing else may.
  bool replay_safe = false;

  bool isolated = false;  // see isolated()
};

inline NodeType replay_safe(NodeType type) {
  type.replay_safe = true;
  return type;
}

// The type of a node that runs in another process.
struct Isolated {
  NodeType type;
};

inline Isolated isolated(NodeType type) {
  type.isolated = true;
  return {std::move(type)};
}

inline Isolated replay_safe(Isolated node) {
  return {replay_safe(std::move(node.type))};
}

template <class Result, class... Arguments>
class Node {
 public:
  // The arguments live in the frame of the call, until it is over.
  using Plain = std::function<Result(Scope&, Arguments&...)>;
  using Coroutine = std::function<Async<Result>(Scope&, Arguments&...)>;

  // `here` is what an isolated node is in the process that runs it.
  Node(NodeType type, std::variant<Plain, Coroutine> body, std::shared_ptr<const Node> here = nullptr)
      : shared_(std::make_shared<const Shared>(std::move(type), std::move(body), std::move(here))) {}

  const std::string& name() const { return shared_->type.name; }

  // Shared by the handles and by the records of the node's calls.
  std::shared_ptr<const NodeType> type() const { return {shared_, &shared_->type}; }

  const Plain* plain() const { return std::get_if<Plain>(&shared_->body); }
  const Coroutine& coroutine() const { return std::get<Coroutine>(shared_->body); }

  // The node that runs its function where it is called, also of an isolated one.
  Node here() const { return shared_->here ? *shared_->here : *this; }

 private:
  struct Shared {
    NodeType type;
    std::variant<Plain, Coroutine> body;
    std::shared_ptr<const Node> here;
  };
  std::shared_ptr<const Shared> shared_;
};

namespace detail {

template <class T>
struct Unwrapped {
  using Type = T;
  static constexpr bool is_coroutine = false;
};
template <class T>
struct Unwrapped<Async<T>> {
  using Type = T;
  static constexpr bool is_coroutine = true;
};

template <class... T>
struct Parameters {};

// How to make a node of a function of this shape.
template <class Returned, class List>
struct Maker;
template <class Returned, class... Declared>
struct Maker<Returned, Parameters<Declared...>> {
  template <bool takes_scope, class F>
  static auto make(NodeType type, F function) {
    using Result = typename Unwrapped<Returned>::Type;
    static_assert(std::is_void_v<Result> || JsonConvertible<Result>, "a node's result must convert to and from JSON");
    static_assert((JsonConvertible<std::remove_cvref_t<Declared>> && ...),
                  "a node's arguments must convert to and from JSON");
    static_assert(
        (!(std::is_lvalue_reference_v<Declared> && !std::is_const_v<std::remove_reference_t<Declared>>) && ...),
        "a node takes its arguments by value or by const reference; only the Scope comes by reference");
    using Made = Node<Result, std::remove_cvref_t<Declared>...>;
    auto body = [function = std::move(function)](Scope& scope,
                                                 std::remove_cvref_t<Declared>&... arguments) -> Returned {
      if constexpr (takes_scope) {
        return function(scope, std::forward<Declared>(arguments)...);
      } else {
        return function(std::forward<Declared>(arguments)...);
      }
    };
    using Body =
        std::conditional_t<Unwrapped<Returned>::is_coroutine, typename Made::Coroutine, typename Made::Plain>;
    return Made(std::move(type), Body(std::move(body)));
  }
};

template <class F>
struct Shape : Shape<decltype(&F::operator())> {};
template <class R, class... A>
struct Shape<R (*)(A...)> {
  static constexpr bool takes_scope = false;
  using Make = Maker<R, Parameters<A...>>;
};
template <class R, class... A>
struct Shape<R (*)(Scope&, A...)> {
  static constexpr bool takes_scope = true;
  using Make = Maker<R, Parameters<A...>>;
};
template <class C, class R, class... A>
struct Shape<R (C::*)(A...) const> : Shape<R (*)(A...)> {};

// Has this scope's node run in another process. Cancel: ends it there.
Async<Json> call_elsewhere(Scope& scope, JsonArray arguments);

template <class Result, class... Arguments>
Async<Result> call_isolated(Scope& scope, Arguments&... arguments) {
  const Json output = co_await call_elsewhere(scope, JsonArray{to_json(arguments)...});
  if constexpr (!std::is_void_v<Result>)
    co_return from_json<Result>(output, "what an isolated node's process returned");
}

template <class Result, class... Arguments>
Node<Result, Arguments...> isolated_node(Node<Result, Arguments...> here) {
  using Made = Node<Result, Arguments...>;
  return Made(*here.type(), typename Made::Coroutine(&call_isolated<Result, Arguments...>),
              std::make_shared<const Made>(here));
}

}  // namespace detail

// The node that calls `function`: a function, or a lambda that is neither generic nor mutable, for its calls may run
// at the same time.
template <class F>
auto node(NodeType type, F function) {
  using Shape = detail::Shape<F>;
  return Shape::Make::template make<Shape::takes_scope>(std::move(type), std::move(function));
}

// Likewise, but it runs in another process, which makes the same node of the same function.
template <class F>
auto node(Isolated isolated, F function) {
  static_assert(!detail::Shape<F>::takes_scope,
                "an isolated node takes no Scope: it runs in a process in which its session is not");
  return detail::isolated_node(node(std::move(isolated.type), std::move(function)));
}

}  // namespace sojourn::flow
