#include <iostream>

#include "sojourn/crew/crew.hpp"
#include "sojourn/flow/app.hpp"
#include "sojourn/worker/serve.hpp"

// Nodes that run in processes of their own: one that crashes fails its own call alone.
using namespace sojourn;

const auto measure = flow::node(flow::isolated("measure"), [](const std::string& picture) {
  if (picture == "broken.png") std::abort();  // as a library for pictures may
  return picture.size();
});

const auto survey = flow::node(
    "survey", [](flow::Scope& scope, std::vector<std::string> pictures) -> Async<std::vector<std::string>> {
      std::vector<std::string> lines;
      const auto sizes = co_await scope.call_batch(measure, pictures);
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        lines.push_back(pictures[i] + ": " +
                        (sizes[i] ? std::to_string(*sizes[i]) : flow::failure_of(sizes[i].error()).message));
      }
      co_return lines;
    });

int main(int count, char** words) {
  const crew::Program program(count, words, {measure});  // the first thing in main
  crew::Crew crew(program);
  flow::ThreadPool pool;
  if (count == 1) return worker::serve(flow::app({.name = "survey"}, pool, {survey}, {.isolated = &crew}));
  flow::Session session(pool, {.isolated = &crew});
  for (const std::string& line : session.call_sync(survey, {words + 1, words + count})) std::cout << line << '\n';
}
