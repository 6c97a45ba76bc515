#include "sojourn/base/loop.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>

namespace sojourn {

namespace asio = boost::asio;

struct Loop::State {
  asio::io_context context{1};
};

Loop::Loop() : state_(std::make_unique<State>()) {}
Loop::~Loop() = default;

Executor Loop::executor() {
  return state_->context.get_executor();
}

void Loop::run(Async<void> main) {
  std::exception_ptr error;
  bool ended = false;
  asio::co_spawn(state_->context, std::move(main), [&](std::exception_ptr thrown) {
    error = std::move(thrown);
    ended = true;
    state_->context.stop();
  });
  const auto keep_open = asio::make_work_guard(state_->context);
  while (!ended) {
    state_->context.restart();
    state_->context.run();
  }
  if (error) std::rethrow_exception(error);
}

struct BlockingPool::State {
  explicit State(unsigned threads) : pool(threads) {}
  asio::thread_pool pool;
};

BlockingPool::BlockingPool(unsigned threads) : state_(std::make_unique<State>(threads)) {}

BlockingPool::~BlockingPool() {
  state_->pool.join();
}

Async<void> BlockingPool::run_erased(std::function<void()> call) {
  const auto caller = co_await asio::this_coro::executor;
  std::exception_ptr error;
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
      [&](auto handler) {
        // The caller's executor must not run dry while only the pool knows of this call.
        auto work = asio::prefer(caller, asio::execution::outstanding_work.tracked);
        asio::post(state_->pool, [&error, &call, work, handler = std::move(handler)]() mutable {
          try {
            call();
          } catch (...) {
            error = std::current_exception();
          }
          asio::post(work, std::move(handler));
        });
      },
      asio::use_awaitable);
  if (error) std::rethrow_exception(error);
}

}  // namespace sojourn
