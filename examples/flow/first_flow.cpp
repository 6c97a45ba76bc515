#include <iostream>

#include "sojourn/flow/session.hpp"

// A flow: nodes that call nodes, run on all cores, recorded call by call.
using namespace sojourn;

int main() {
  const auto count_words =
      flow::node("count words", [](const std::string& text) { return std::ranges::count(text, ' ') + 1; });
  const auto report =
      flow::node("report", [=](flow::Scope& scope, std::vector<std::string> texts) -> Async<std::string> {
        std::string lines;
        const auto counts = co_await scope.call_batch(count_words, texts);  // at the same time, results in order
        for (std::size_t i = 0; i < texts.size(); ++i) {
          lines += std::to_string(*counts[i]) + " words: " + texts[i] + "\n";
        }
        co_return lines;
      });

  flow::ThreadPool pool;
  flow::Session session(pool, {.timeout = Seconds(5)});
  std::cout << session.call_sync(report, {"Hello World", "three short words"});

  for (const flow::CallRecord& call : session.info().graph.calls()) {
    std::cout << (call.caller ? "  " : "") << call.node->name << *call.input << " -> " << *call.output << '\n';
  }
}
