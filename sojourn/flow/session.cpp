#include "sojourn/flow/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>

#include "sojourn/flow/core.hpp"
#include "sojourn/flow/crossing.hpp"
#include "sojourn/flow/run_journal.hpp"

namespace sojourn::flow {

namespace asio = boost::asio;

CallStatus SessionInfo::status() const {
  bool failed = false;
  for (const CallId root : graph.roots()) {
    const CallStatus status = graph.call(root).status();
    if (status == CallStatus::open) return status;
    failed = failed || status == CallStatus::failed;
  }
  return failed ? CallStatus::failed : CallStatus::completed;
}

struct Session::Place {
  std::atomic<Session*> session;
};

namespace {

// Closed sessions are dropped when somebody looks, for it may be another thread that closes one.
template <class Place>
std::vector<std::shared_ptr<Place>>& open_places() {
  thread_local std::vector<std::shared_ptr<Place>> places;
  while (!places.empty() && places.back()->session == nullptr) places.pop_back();
  return places;
}

}  // namespace

Session* Session::current() {
  const auto& places = open_places<Place>();
  return places.empty() ? nullptr : places.back()->session.load();
}

void Session::leave_thread() {
  place_->session = nullptr;
  open_places<Place>();
}

Session::Session(Strategy& strategy, Settings settings)
    : place_(std::make_shared<Place>(this)),
      core_(std::make_shared<Core>(strategy, nullptr, std::move(settings), nullptr)) {
  open_places<Place>().push_back(place_);
}

Session::Session(Strategy& strategy, Clock& clock, Settings settings, std::shared_ptr<RunJournal> journal)
    : place_(std::make_shared<Place>(this)),
      core_(std::make_shared<Core>(strategy, &clock, std::move(settings), std::move(journal))) {
  open_places<Place>().push_back(place_);
}

Session::~Session() {
  leave_thread();
  stop_runs("its session was closed", true);
  if (core_->strategy.goes_on_while_waited_for()) {
    std::unique_lock lock(core_->mutex);
    core_->changed.wait_for(lock, core_->config.grace, [this] { return core_->runs.empty(); });
  }
  core_->conclude();
  // A run that goes on, or that its strategy drops, holds the core: without this each would keep the other for ever.
  std::set<std::shared_ptr<Run>> left_alone;
  const std::scoped_lock lock(core_->mutex);
  left_alone.swap(core_->runs);
}

const std::string& Session::id() const {
  return core_->id;
}

Context& Session::context() {
  return core_->context;
}

Publisher& Session::publisher() {
  return core_->publisher;
}

void Session::broadcast(Json item) {
  core_->publisher.publish(core_->clock.now(), BroadcastEvent{.call = std::nullopt, .item = std::move(item)});
}

std::filesystem::path Session::saved_to() const {
  return saved_file(core_->home(), core_->saved());
}

const Config& Session::config() const {
  return core_->config;
}

SessionInfo Session::info() const {
  const std::scoped_lock lock(core_->mutex);
  return {.id = core_->id,
          .uuid = core_->uuid.text(),
          .closed = core_->closed,
          .running = core_->runs.size(),
          .started = core_->started,
          .graph = core_->record.graph()};
}

Graph Session::graph_at(std::uint32_t step) const {
  return core_->record.graph_at(step);
}

Graph Session::beginning(std::size_t calls) const {
  return core_->record.beginning(calls);
}

std::size_t Session::size() const {
  return core_->record.size();
}

std::string Session::payload() const {
  return saved_state(core_->saved(), core_->record.graph());
}

std::shared_ptr<Run> Session::begin_run(const std::string& node) const {
  // So that no sum with it overflows.
  constexpr Milliseconds longest = std::chrono::hours(24 * 3650);
  const Milliseconds timeout = std::min(core_->config.timeout, longest);
  auto run = std::make_shared<Run>(core_, core_->clock.instant() + timeout);
  const std::scoped_lock lock(core_->mutex);
  if (core_->closed) {
    throw Error(ErrorCode::session_ended,
                fmt::format("node \"{}\" was called in the flow session {}, which is closed", node, core_->id));
  }
  run->place = core_->next_place++;
  core_->runs.insert(run);
  return run;
}

Async<void> Session::finish(std::shared_ptr<Run> run, Async<void> work, std::string node) {
  Core& core = *run->core;
  const auto over = std::make_shared<Crossing>(co_await asio::this_coro::executor, 1);
  const CrossingPlace place(over);
  run->root->start(std::move(work), [over, run](std::exception_ptr error) {
    run->core->ended(run);
    over->arrive(std::move(error));
  });

  co_await asio::this_coro::throw_if_cancelled(false);
  run->interrupt_when_stopped(over);
  bool ended = co_await over->wait_until(core.clock, run->deadline);
  if (!ended) {
    const bool late = core.clock.instant() >= run->deadline;
    // The first cause counts: that the session was closed or a node failed, if that ended the wait.
    run->stop(late ? Error(ErrorCode::call_timeout,
                           fmt::format("node \"{}\" was stopped: the flow session's time-out of {} s passed", node,
                                       std::chrono::duration<double>(core.config.timeout).count()),
                           {{"node", node}})
                   : Error(ErrorCode::cancelled, fmt::format("the call of node \"{}\" was cancelled", node)));
    const Instant patience = core.clock.instant() + core.config.grace;
    while (!ended && core.clock.instant() < patience) ended = co_await over->wait_until(core.clock, patience);
  }
  std::exception_ptr not_kept;
  if (core.journal && ended) {
    try {
      co_await core.journal->flush(co_await asio::this_coro::executor);
    } catch (...) {
      not_kept = std::current_exception();
    }
  }
  co_await asio::this_coro::throw_if_cancelled(true);
  if (const auto cause = run->cause()) throw Error(*cause);
  over->rethrow();
  if (not_kept) std::rethrow_exception(not_kept);
}

void Session::cancel() {
  stop_runs("it was cancelled", false);
}

void Session::run_here(Async<void> work) {
  core_->strategy.run(std::move(work));
}

void Session::stop_runs(const char* why, bool for_good) {
  std::set<std::shared_ptr<Run>> open;
  {
    const std::scoped_lock lock(core_->mutex);
    if (for_good) core_->closed = true;
    open = core_->runs;
  }
  for (const auto& run : open) run->stop(Error(ErrorCode::cancelled, fmt::format("the run was stopped: {}", why)));
}

Async<void> Session::close() {
  const auto core = core_;
  leave_thread();
  stop_runs("its session was closed", true);
  const auto idle = std::make_shared<Crossing>(co_await asio::this_coro::executor, 1);
  const CrossingPlace place(idle);
  core->when_idle([idle] { idle->arrive(nullptr); });
  co_await idle->wait_until(core->clock, core->clock.instant() + core->config.grace);
  co_await core->conclude_elsewhere();
}

detail::FirstJob detail::first_job(const Run& run) {
  return {.job = run.root, .place = run.place};
}

}  // namespace sojourn::flow
