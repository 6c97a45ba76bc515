#pragma once

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <future>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

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
    Ended<T> ended;
    std::promise<void> done;
    std::future<void> is_done = done.get_future();
    boost::asio::co_spawn(loop_.executor(), end(std::move(work), ended),
                          [done = std::move(done)](const std::exception_ptr&) mutable { done.set_value(); });
    is_done.wait();
    if (ended.error) std::rethrow_exception(std::move(ended.error));
    if constexpr (!std::is_void_v<T>) return *std::move(ended.value);
  }

 private:
  // What work came to. The loop's thread holds no part of an exception once it is told of, so it frees none of it
  // while the waiting thread reads it.
  template <class T>
  struct Ended {
    std::exception_ptr error;
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> value;
  };

  template <class T>
  static Async<void> end(Async<T> work, Ended<T>& ended) {
    try {
      if constexpr (std::is_void_v<T>) {
        co_await std::move(work);
      } else {
        ended.value.emplace(co_await std::move(work));
      }
    } catch (...) {
      ended.error = std::current_exception();
    }
  }

  Async<void> serve();

  Loop loop_;
  Event stopping_;
  bool is_stopping_ = false;  // may be said before serve() has begun
  std::thread thread_;
};

}  // namespace sojourn::client
