#pragma once

#include <memory>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/loop.hpp"

// Where the nodes of a flow run: on all cores, or on one thread in an order that is the same every time.
namespace sojourn::flow {

// Lifetime: outlives the sessions that use it.
class Strategy {
 public:
  virtual ~Strategy() = default;

  // An executor that runs one thing at a time. What was started on another lane may run at the same time.
  // Threads: safe.
  virtual Executor new_lane() = 0;

  // How many lanes run at once.
  virtual unsigned width() const = 0;

  // Whether lanes go on while the calling thread blocks.
  virtual bool goes_on_while_waited_for() const = 0;

  // Runs `work`, which waits for what runs on lanes, and returns when it is over, or throws what it threw.
  // Errors: invalid_request from inside of what this strategy runs, which would wait for itself.
  virtual void run(Async<void> work) = 0;
};

// Lanes on a pool of threads. A node that computes or blocks keeps one thread busy.
class ThreadPool final : public Strategy {
 public:
  // With no number given, as many threads as the machine has cores. One more keeps the time of calls that block.
  explicit ThreadPool(unsigned threads = 0);

  // Waits for what runs on its threads, for a second at most: a node that never returns keeps its thread, and what it
  // holds, until the program ends.
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  Executor new_lane() override;
  unsigned width() const override;
  bool goes_on_while_waited_for() const override;
  void run(Async<void> work) override;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the threads, of which one may be stuck in a node
  unsigned width_;
};

// Everything on one loop, in the order in which it became ready; for tests, and for programs that have a loop.
// A node that never returns keeps the loop.
class OneThread final : public Strategy {
 public:
  // Lifetime: `loop` outlives it.
  explicit OneThread(Loop& loop) : loop_(loop) {}

  Executor new_lane() override { return loop_.executor(); }
  unsigned width() const override { return 1; }
  bool goes_on_while_waited_for() const override { return false; }
  void run(Async<void> work) override;

 private:
  Loop& loop_;
};

}  // namespace sojourn::flow
