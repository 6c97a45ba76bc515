#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "sojourn/base/async.hpp"

// Where code runs: one loop for everything that waits, and a pool for calls that block.
namespace sojourn {

// One thread's event loop. What runs on it never runs at the same time as anything else on it, so its objects need no
// locks; what blocks must go to a BlockingPool.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Executor executor();

  // Runs `main` on the calling thread, with all that it starts, until it ends; then returns or throws what it threw.
  // What it left running is not waited for: `main` closes what it opens.
  void run(Async<void> main);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Threads for blocking calls: file reads, SQL queries.
// Lifetime: destroy it before the loops whose coroutines it resumes.
class BlockingPool {
 public:
  explicit BlockingPool(unsigned threads);
  ~BlockingPool();  // waits for the calls that run

  // Runs `call` on one of the threads, and resumes on the caller's executor with its result or what it threw.
  // Cancel: waits for `call` all the same, for it works on what the caller holds.
  template <class F>
  auto run(F call) -> Async<std::invoke_result_t<F>> {
    using T = std::invoke_result_t<F>;
    if constexpr (std::is_void_v<T>) {
      co_await run_erased([&] { call(); });
    } else {
      std::optional<T> result;
      co_await run_erased([&] { result.emplace(call()); });
      co_return std::move(*result);
    }
  }

 private:
  Async<void> run_erased(std::function<void()> call);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sojourn
