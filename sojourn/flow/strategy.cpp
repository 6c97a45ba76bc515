#include "sojourn/flow/strategy.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/flow/crossing.hpp"

namespace sojourn::flow {

namespace asio = boost::asio;

namespace {

Error waits_for_itself() {
  return Error(ErrorCode::invalid_request,
               "a call that blocks was made from inside of what it would wait for: await it with co_await, inside a "
               "node as scope.call(...)");
}

}  // namespace

struct ThreadPool::State {
  explicit State(unsigned count) : nodes(static_cast<int>(count)), alive(count + 1) {}

  static void serve(const std::shared_ptr<State>& state, asio::io_context& context) {
    current = state.get();
    context.run();
    // Under the lock, so that the pool is not gone between the count and the call.
    const std::scoped_lock lock(state->mutex);
    --state->alive;
    state->ended.notify_all();
  }

  static thread_local const State* current;  // the pool that this thread serves

  using Guard = asio::executor_work_guard<asio::io_context::executor_type>;

  asio::io_context nodes;
  asio::io_context waits{1};  // for what waits for nodes, on a thread of its own: a time-out comes when all are busy
  Guard open_for_nodes = asio::make_work_guard(nodes);
  Guard open_for_waits = asio::make_work_guard(waits);
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable ended;
  unsigned alive;
};

thread_local const ThreadPool::State* ThreadPool::State::current = nullptr;

ThreadPool::ThreadPool(unsigned threads)
    : width_(threads > 0 ? threads : std::max(1U, std::thread::hardware_concurrency())) {
  state_ = std::make_shared<State>(width_);
  for (unsigned i = 0; i < width_; ++i) {
    state_->threads.emplace_back([state = state_] { State::serve(state, state->nodes); });
  }
  state_->threads.emplace_back([state = state_] { State::serve(state, state->waits); });
}

ThreadPool::~ThreadPool() {
  state_->nodes.stop();
  state_->waits.stop();
  std::unique_lock lock(state_->mutex);
  const bool all_ended = state_->ended.wait_for(lock, Seconds(1), [this] { return state_->alive == 0; });
  lock.unlock();
  for (std::thread& thread : state_->threads) {
    if (all_ended) {
      thread.join();
    } else {
      thread.detach();
    }
  }
}

Executor ThreadPool::new_lane() {
  return asio::make_strand(state_->nodes.get_executor());
}

unsigned ThreadPool::width() const {
  return width_;
}

bool ThreadPool::goes_on_while_waited_for() const {
  return State::current != state_.get();
}

void ThreadPool::run(Async<void> work) {
  if (State::current == state_.get()) throw waits_for_itself();
  // Shared, for who waits may be gone before the call that wakes it has returned.
  const auto over = std::make_shared<std::promise<void>>();
  std::exception_ptr error;
  asio::co_spawn(state_->waits, keep_error(std::move(work), error),
                 [over](const std::exception_ptr&) { over->set_value(); });
  over->get_future().wait();
  if (error) std::rethrow_exception(std::move(error));
}

void OneThread::run(Async<void> work) {
  // Whoever runs the loop: a flow's main, or a coroutine of the program that awaits a call.
  if (loop_.executor().target<asio::io_context::executor_type>()->running_in_this_thread()) throw waits_for_itself();
  loop_.run(std::move(work));
}

}  // namespace sojourn::flow
