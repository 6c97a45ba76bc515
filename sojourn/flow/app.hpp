#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sojourn/flow/session.hpp"
#include "sojourn/session/app.hpp"

// Flows as an app: each of its functions calls a node.
//
// A program's main joins it with what serves it: `return worker::serve(flow::app(info, pool, {report, summary}));`
namespace sojourn::flow {

// A function of an app: the node of the same name, called with the input of the call. A node without arguments takes
// any input; one that fails to convert is an invalid_request.
class Function {
 public:
  template <class Result>
  Function(Node<Result> node)  // NOLINT: a node is a function
      : name_(node.name()), call_([node](Session& session, Json) { return output_of<Result>(session.call(node)); }) {}

  template <class Result, class Argument>
  Function(Node<Result, Argument> node)  // NOLINT
      : name_(node.name()),
        call_([node, what = "the input of \"" + node.name() + "\""](Session& session, Json input) {
          return output_of<Result>(session.call(node, from_json<Argument>(input, what)));
        }) {}

  Function(std::string name, std::function<Async<Json>(Session&, Json)> call)
      : name_(std::move(name)), call_(std::move(call)) {}

  const std::string& name() const { return name_; }
  Async<Json> operator()(Session& session, Json input) const { return call_(session, std::move(input)); }

  // What came of `call`, as JSON; null where it returns nothing.
  template <class Result>
  static Async<Json> output_of(Async<Result> call) {
    if constexpr (std::is_void_v<Result>) {
      co_await std::move(call);
      co_return nullptr;
    } else {
      co_return to_json(co_await std::move(call));
    }
  }

 private:
  std::string name_;
  std::function<Async<Json>(Session&, Json)> call_;
};

// The app with these functions, of which the first is the default one. Each call runs in a flow session of its own,
// whose context begins with that of the settings and of the session that is served. What nodes broadcast is partial
// output. Its calls are told to the journal as one event "flow.run" (docs/formats/journal.md), also when it failed:
// the first 1,000 of them, or fewer.
//
// Unless the settings say otherwise nothing is saved, and nothing logged elsewhere.
// Lifetime: `strategy` outlives it.
// Cancel:   stops the run, as does the deadline of the call. Errors: invalid_request without functions.
std::unique_ptr<session::App> app(session::AppInfo info, Strategy& strategy, std::vector<Function> functions,
                                  Settings settings = {});

}  // namespace sojourn::flow
