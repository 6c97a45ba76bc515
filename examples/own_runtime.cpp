#include <iostream>

#include "examples/word_count.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/sqlite_store.hpp"

// The runtime inside a program of your own: queues, time-outs, durable calls and a journal, without HTTP.
using sojourn::Async;
using sojourn::runtime::Runtime;
using sojourn::runtime::TaskView;

Async<void> count(Runtime& runtime) {
  const TaskView first = co_await runtime.run(
      {.app = "word-count", .input = sojourn::JsonObject{{"text", "to be or not to be"}}, .session = "new"});
  const TaskView second = co_await runtime.run(
      {.input = sojourn::JsonObject{{"text", "that is the question"}}, .session = first.task.session_id});
  std::cout << first.task.output << '\n' << second.task.output << '\n';
  const TaskView third = co_await runtime.run({.input = 7, .session = first.task.session_id});
  std::cout << sojourn::store::to_string(third.task.status) << ": " << third.task.error << '\n';
  co_await runtime.end_session(first.task.session_id, "example");
}

// A runtime is closed whatever happens, so that its workers are too.
Async<void> run(Runtime& runtime, sojourn::store::Store& store, sojourn::Clock& clock) {
  co_await runtime.recover();  // settles what an earlier run of this program may have left open
  std::exception_ptr failure;
  try {
    co_await count(runtime);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await runtime.close(clock.instant() + sojourn::Seconds(10));
  co_await store.close();
  if (failure) std::rethrow_exception(failure);
}

int main(int count_of_words, char** words) {
  if (count_of_words != 2) {
    std::cerr << "usage: own_runtime FOLDER\n";
    return 2;
  }
  sojourn::Loop loop;
  sojourn::SystemClock clock;
  sojourn::SystemRandom random;
  const sojourn::Log log;
  try {
    const auto store = sojourn::store::SqliteStore::open({.folder = words[1]});
    Runtime runtime(loop.executor(), *store, clock, random, log, {.owner = "example"});
    runtime.add_app(std::make_shared<example::WordCount>());
    loop.run(run(runtime, *store, clock));
  } catch (const sojourn::Error& error) {
    std::cerr << error.message() << '\n';
    return 1;
  }
}
