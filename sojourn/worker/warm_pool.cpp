#include "sojourn/worker/warm_pool.hpp"

#include <algorithm>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <cassert>
#include <deque>
#include <utility>

#include "sojourn/worker/backoff.hpp"

namespace sojourn::worker {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// What starting a spare may take: it loads the app.
constexpr auto start_time = 600s;

// What a spare gets to exit by itself, for it has nothing to clean up.
constexpr auto exit_time = 2s;

// Before a spare that was taken is replaced: its session's first call has the processor first.
constexpr auto head_start = 10ms;

// Lines kept for the session that will have the spare; later ones are left out.
constexpr std::size_t lines_kept = 100;

// What a spare tells while no session listens.
class Silence final : public session::WorkerEvents {
 public:
  explicit Silence(Event& changed) : changed_(changed) {}

  void log(LogLevel level, std::string_view stream, std::string_view message, JsonObject fields) override {
    if (lines_.size() < lines_kept) {
      lines_.push_back({level, std::string(stream), std::string(message), std::move(fields)});
    }
  }
  void resource_added(session::ResourceNote resource) override {
    if (!resource.recorded) return;
    resource.recorded->fail(std::make_exception_ptr(
        Error(ErrorCode::invalid_request, "a resource is acquired before there is a session that could hold it")));
  }
  void resource_released(std::string_view) override {}
  void lost(Error) override {
    is_lost_ = true;
    changed_.notify_all();
  }

  bool is_lost() const { return is_lost_; }
  void replay(session::WorkerEvents& events) {
    for (Line& line : lines_) events.log(line.level, line.stream, line.message, std::move(line.fields));
  }

 private:
  struct Line {
    LogLevel level;
    std::string stream;
    std::string message;
    JsonObject fields;
  };

  Event& changed_;
  std::deque<Line> lines_;
  bool is_lost_ = false;
};

}  // namespace

struct WarmPool::Spare {
  explicit Spare(Event& changed) : events(changed) {}

  Silence events;
  std::unique_ptr<ProcessWorker> worker;  // null while it is being started
};

WarmPool::WarmPool(Executor executor, Clock& clock, const Log& log, Options options)
    : clock_(clock), log_(log), options_(std::move(options)), group_(std::move(executor)) {}

WarmPool::~WarmPool() {
  assert(spares_.empty() && group_.size() == 0);
}

void WarmPool::begin() {
  if (options_.wanted > 0 && !closed_) group_.spawn(keep());
}

std::unique_ptr<ProcessWorker> WarmPool::take(session::WorkerEvents& events) {
  const auto found = std::ranges::find_if(
      spares_, [](const auto& spare) { return spare->worker != nullptr && !spare->events.is_lost(); });
  if (found == spares_.end()) return nullptr;
  const std::unique_ptr<Spare> spare = std::move(*found);
  spares_.erase(found);
  failures_ = 0;
  changed_.notify_all();
  spare->events.replay(events);
  spare->worker->tell(events);
  return std::move(spare->worker);
}

std::size_t WarmPool::size() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      spares_, [](const auto& spare) { return spare->worker != nullptr && !spare->events.is_lost(); }));
}

Async<void> WarmPool::keep() {
  while (!closed_ && options_.wanted > 0) {
    // What died is closed to its end, also where this was asked to stop.
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    const bool some_died = co_await bury();
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    if (closed_) co_return;
    if (some_died && ++failures_ > 1) {  // NOLINT(bugprone-branch-clone): two reasons for the same pause
      co_await sleep_until(clock_, clock_.instant() + backoff(failures_));
    } else if (spares_.size() >= std::min(options_.wanted, options_.room())) {
      co_await changed_.wait();
      co_await sleep_until(clock_, clock_.instant() + head_start);
    } else if (!co_await add_one()) {
      co_await sleep_until(clock_, clock_.instant() + backoff(failures_));
    }
  }
}

// Whether it went well.
Async<bool> WarmPool::add_one() {
  spares_.push_back(std::make_unique<Spare>(changed_));
  Spare& spare = *spares_.back();
  std::optional<Error> failed;
  std::unique_ptr<ProcessWorker> worker;
  std::exception_ptr stopped;
  try {
    worker = co_await options_.start(spare.events, clock_.instant() + start_time);
  } catch (const Error& error) {
    failed = error;
  } catch (...) {
    stopped = std::current_exception();
  }
  if (worker != nullptr && worker->can_wait()) {
    spare.worker = std::move(worker);
    co_return true;
  }
  if (worker != nullptr) {
    log_.warning("an app is not kept warm: its program cannot wait for its session (capability \"spare\")",
                 {{"app", options_.app}});
    options_.wanted = 0;
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await worker->close(session::CloseReason::lost, clock_.instant() + exit_time);
    co_await asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
    worker.reset();
  }
  std::erase_if(spares_, [&spare](const auto& other) { return other.get() == &spare; });
  if (stopped) std::rethrow_exception(stopped);
  if (failed) {
    ++failures_;
    log_.error("a spare worker could not be started", {{"app", options_.app}, {"error", failed->message()}});
  }
  co_return !failed;
}

// Closes those that died; whether there were some.
Async<bool> WarmPool::bury() {
  for (bool some = false;; some = true) {
    const auto found =
        std::ranges::find_if(spares_, [](const auto& spare) { return spare->worker && spare->events.is_lost(); });
    if (found == spares_.end()) co_return some;
    const std::unique_ptr<Spare> spare = std::move(*found);
    spares_.erase(found);
    log_.warning("a spare worker died and is replaced",
                 {{"app", options_.app}, {"stderr", spare->worker->last_errors()}});
    co_await spare->worker->close(session::CloseReason::lost, clock_.instant());
  }
}

Async<void> WarmPool::close() {
  closed_ = true;
  group_.cancel();
  changed_.notify_all();
  co_await group_.join();
  TaskGroup ending(group_.executor());
  for (const auto& spare : spares_) {
    ending.spawn(spare->worker->close(session::CloseReason::server_stopping, clock_.instant() + exit_time));
  }
  co_await ending.join();
  spares_.clear();
}

}  // namespace sojourn::worker
