#include "sojourn/flow/job.hpp"

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/flow/crossing.hpp"

namespace sojourn::flow {

namespace asio = boost::asio;

struct Job::Signal {
  asio::cancellation_signal signal;
};

// Has a job among its parent's from its start until it is over, or until its loop is gone with it.
class Job::Running {
 public:
  explicit Running(std::shared_ptr<Job> job) : job_(std::move(job)) {
    Job* const parent = job_->parent_.get();
    if (parent == nullptr) return;
    const std::scoped_lock lock(parent->mutex_);
    job_->place_ = parent->children_.insert(parent->children_.end(), job_);
    // Seen under the lock: whoever cancels the parent later finds this job in its list.
    if (parent->is_cancelled()) job_->cancelled_ = true;
  }
  Running(Running&&) = default;
  Running& operator=(Running&&) = delete;
  ~Running() { leave(); }

  const std::shared_ptr<Job>& job() const { return job_; }

  // Once only; what the job ended with.
  std::exception_ptr end() {
    leave();
    return std::exchange(job_->error_, nullptr);
  }

 private:
  // Whoever keeps the job longer than its parent runs, as a thread may that is none of the parent's, keeps nothing of
  // the parent: its lane goes with its strategy.
  void leave() {
    const std::shared_ptr<Job> parent = job_ ? std::move(job_->parent_) : nullptr;
    if (!parent) return;
    const std::scoped_lock lock(parent->mutex_);
    parent->children_.erase(job_->place_);
  }

  std::shared_ptr<Job> job_;
};

Job::Job(Executor lane, std::shared_ptr<Job> parent)
    : lane_(std::move(lane)), parent_(std::move(parent)), signal_(std::make_unique<Signal>()) {}

Job::~Job() = default;

std::shared_ptr<Job> Job::create(Executor lane, std::shared_ptr<Job> parent) {
  return std::shared_ptr<Job>(new Job(std::move(lane), std::move(parent)));
}

void Job::start(Async<void> work, std::function<void(std::exception_ptr)> done) {
  // From the lane, for the signal is touched nowhere else.
  asio::post(lane_,
             [running = Running(shared_from_this()), work = std::move(work), done = std::move(done)]() mutable {
               const std::shared_ptr<Job> job = running.job();
               auto over = [running = std::move(running), done = std::move(done)](std::exception_ptr) mutable {
                 done(running.end());
               };
               asio::co_spawn(job->lane_, keep_error(std::move(work), job->error_),
                              asio::bind_cancellation_slot(job->signal_->signal.slot(), std::move(over)));
               // A signal that came before the work had begun met nobody.
               if (job->is_cancelled()) job->signal_->signal.emit(asio::cancellation_type::terminal);
             });
}

void Job::cancel() {
  // A list of what is left to do, since a flow may be deeper than the stack.
  std::vector<std::shared_ptr<Job>> open{shared_from_this()};
  while (!open.empty()) {
    const std::shared_ptr<Job> job = std::move(open.back());
    open.pop_back();
    {
      const std::scoped_lock lock(job->mutex_);
      job->cancelled_ = true;
      open.insert(open.end(), job->children_.begin(), job->children_.end());
    }
    asio::post(job->lane_, [job] { job->signal_->signal.emit(asio::cancellation_type::terminal); });
  }
}

Async<void> Job::yield() {
  co_await asio::post(lane_, asio::use_awaitable);
}

Async<void> run_on(Executor lane, Async<void> work) {
  const auto over = std::make_shared<Crossing>(co_await asio::this_coro::executor, 1);
  Job::create(std::move(lane), nullptr)->start(std::move(work), [over](std::exception_ptr error) {
    over->arrive(std::move(error));
  });
  co_await asio::this_coro::throw_if_cancelled(false);
  while (!co_await over->wait()) {
  }
  co_await asio::this_coro::throw_if_cancelled(true);
  over->rethrow();
}

namespace {

// What the runners of one fan-out share. On the frame of fan_out, which waits for all of them.
struct Fan {
  const FanOut shape;
  const std::function<Async<bool>(Job&, std::size_t)> work;
  std::vector<std::shared_ptr<Job>> runners;
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> stopped = false;
  std::optional<std::size_t> failed;  // written by the one that stopped the others
};

// Takes one index after the other, so that a fan-out of any size costs as many jobs as run at once.
Async<void> take_turns(Fan& fan, Job& job) {
  while (!fan.stopped && !job.is_cancelled()) {
    const std::size_t index = fan.next++;
    if (index >= fan.shape.count) co_return;
    if (co_await fan.work(job, index) || !fan.shape.stop_at_failure) continue;
    if (fan.stopped.exchange(true)) co_return;
    fan.failed = index;
    for (const auto& other : fan.runners) {
      if (other.get() != &job) other->cancel();
    }
  }
}

}  // namespace

Async<std::optional<std::size_t>> fan_out(std::shared_ptr<Job> parent, Strategy& strategy, FanOut shape,
                                          std::function<Async<bool>(Job&, std::size_t)> work) {
  if (shape.count == 0) co_return std::nullopt;
  Fan fan{.shape = shape, .work = std::move(work)};
  // All are there before the first starts: it may have to cancel the others.
  const std::size_t width = std::clamp<std::size_t>(shape.width, 1, shape.count);
  for (std::size_t i = 0; i < width; ++i) fan.runners.push_back(Job::create(strategy.new_lane(), parent));

  const auto over = std::make_shared<Crossing>(parent->lane(), width);
  for (const auto& runner : fan.runners) {
    runner->start(take_turns(fan, *runner), [over](std::exception_ptr error) { over->arrive(std::move(error)); });
  }
  // The runners work on this frame, so nothing may end it before them.
  co_await asio::this_coro::throw_if_cancelled(false);
  bool cancelled = false;
  while (!co_await over->wait()) {
    cancelled = true;
    for (const auto& runner : fan.runners) runner->cancel();
  }
  co_await asio::this_coro::throw_if_cancelled(true);
  // By the run, or by whoever awaits this within the node.
  if (cancelled || parent->is_cancelled()) throw Error(ErrorCode::cancelled, "the run was stopped");
  over->rethrow();
  co_return fan.failed;
}

}  // namespace sojourn::flow
