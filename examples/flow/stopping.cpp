#include <iostream>

#include "sojourn/base/event.hpp"
#include "sojourn/flow/session.hpp"

// What ends a run: its time-out, an error of a node, or who called it.
using namespace sojourn;

int main() {
  const auto wait = flow::node("wait", [](int) -> Async<void> {
    Event never;
    co_await never.wait();
  });
  const auto wait_twice =
      flow::node("wait twice", [=](flow::Scope& scope) -> Async<void> { co_await scope.call_batch(wait, {1, 2}); });
  const auto read = flow::node("read", [](const std::string& file) -> std::string {
    throw Error(ErrorCode::not_found, "there is no " + file);
  });
  const auto careful = flow::node("careful", [=](flow::Scope& scope) -> Async<std::string> {
    try {
      co_return co_await scope.call(read, "notes.txt");
    } catch (const Error&) {
      // Without notes it goes on.
    }
    co_return "nothing to read";
  });

  flow::ThreadPool pool;
  flow::Session hasty(pool, {.timeout = Milliseconds(50)});
  try {
    hasty.call_sync(wait_twice);
  } catch (const Error& error) {
    std::cout << error.message() << '\n';
  }
  for (const auto& call : hasty.info().graph.calls())
    std::cout << "  " << call.node->name << ": " << to_string(call.status()) << '\n';

  flow::Session lenient(pool);
  std::cout << lenient.call_sync(careful) << '\n';
  flow::Session strict(pool, {.end_on_error = true});
  try {
    strict.call_sync(careful);
  } catch (const Error& error) {
    std::cout << error.message() << '\n';
  }
}
