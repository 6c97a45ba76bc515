#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <thread>

#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"

// A loop on a thread of its own, for programs that wait.
namespace sojourn::client {

class LoopThread {
 public:
  LoopThread();
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  Executor executor() { return loop_.executor(); }

  // Runs `work` on the loop, waits for it, and returns or throws what it did.
  // Threads: any, but the loop's own.
  template <class T>
  T run(Async<T> work) {
    return boost::asio::co_spawn(loop_.executor(), std::move(work), boost::asio::use_future).get();
  }

 private:
  Async<void> serve();

  Loop loop_;
  Event stopping_;
  bool is_stopping_ = false;  // may be said before serve() has begun
  std::thread thread_;
};

}  // namespace sojourn::client
