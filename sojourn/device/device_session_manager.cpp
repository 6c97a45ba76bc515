#include "sojourn/device/device_session_manager.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "sojourn/base/ids.hpp"

namespace sojourn::device {

namespace {

constexpr Milliseconds longest_watch_wait(30'000);

}  // namespace

std::string_view to_string(DeviceSessionState state) {
  switch (state) {
    case DeviceSessionState::inactive:
      return "inactive";
    case DeviceSessionState::active:
      return "active";
    case DeviceSessionState::shutdown:
      return "shutdown";
    case DeviceSessionState::disposed:
      break;
  }
  return "disposed";
}

DeviceSessionManager::DeviceSessionManager(Executor executor, Clock& clock, Random& random, Log& log, Options options)
    : executor_(std::move(executor)),
      clock_(clock),
      random_(random),
      log_(log),
      options_(std::move(options)),
      expiring_(executor_) {}

DeviceSessionManager::~DeviceSessionManager() {
  assert(live_.empty() && expiring_.size() == 0);
}

void DeviceSessionManager::go(DeviceSessionState state) {
  if (state_ == state) return;
  state_ = state;
  log_.info("device session manager", {{"state", to_string(state)}});
  if (hear_) hear_(state);
}

std::optional<std::string> DeviceSessionManager::current_session_id() const {
  if (!live_.contains(current_)) return std::nullopt;
  return current_;
}

std::optional<Capabilities> DeviceSessionManager::capabilities() const {
  const auto found = live_.find(current_);
  if (found == live_.end()) return std::nullopt;
  return found->second->session->capabilities();
}

SessionStats DeviceSessionManager::stats() const {
  SessionStats stats = stats_;
  if (options_.enable_session_metrics) stats.active_session_count = live_.size();
  return stats;
}

std::shared_ptr<DeviceSessionManager::Live> DeviceSessionManager::find(const Board& board) const {
  for (const auto& [id, live] : live_) {
    if (live->board == &board) return live;
  }
  return nullptr;
}

Async<std::shared_ptr<DeviceSession>> DeviceSessionManager::create(Board& board) {
  const auto turn = co_await beginning_.take();
  if (const auto live = find(board)) {
    throw SessionError(ErrorCode::worker_leased, "the board serves another session", live->session->id());
  }
  const auto live = co_await begin(board);
  co_return live->session;
}

Async<std::shared_ptr<DeviceSession>> DeviceSessionManager::get_or_create(Board& board) {
  auto live = find(board);
  if (live == nullptr) {
    const auto turn = co_await beginning_.take();
    live = find(board);
    if (live == nullptr) live = co_await begin(board);
  }
  touch(*live);
  co_return live->session;
}

Async<std::shared_ptr<DeviceSessionManager::Live>> DeviceSessionManager::begin(Board& board) {
  while (ending_.contains(&board)) co_await ended_.wait();
  const Instant start = clock_.instant();
  const auto refuse_if_over = [&] {
    if (state_ == DeviceSessionState::inactive || state_ == DeviceSessionState::active) return;
    throw SessionError(ErrorCode::unavailable, fmt::format("the device session manager is {}", to_string(state_)));
  };
  refuse_if_over();
  if (live_.size() >= options_.max_concurrent_sessions) {
    throw SessionError(ErrorCode::too_many_sessions,
                       fmt::format("there are {} device sessions already", options_.max_concurrent_sessions));
  }
  Capabilities capabilities = co_await ask(board);
  refuse_if_over();
  std::string id;
  do {
    id = new_session_id(clock_.now(), random_);
  } while (live_.contains(id));
  const auto live = std::make_shared<Live>();
  live->session = std::make_shared<DeviceSession>(
      id, board, std::move(capabilities), executor_, clock_,
      DeviceSession::Options{.resource_tracking = options_.enable_resource_tracking,
                             .cleanup_timeout = options_.resource_cleanup_timeout,
                             .log = &log_,
                             .metrics = options_.enable_session_metrics ? &metrics_ : nullptr});
  live->board = &board;
  co_await declare(*live->session);
  if (state_ != DeviceSessionState::inactive && state_ != DeviceSessionState::active) live->session->abandon();
  refuse_if_over();
  live_.emplace(id, live);
  if (options_.enable_session_metrics) {
    ++stats_.total_session_count;
    stats_.max_session_count = std::max(stats_.max_session_count, live_.size());
    ++metrics_.sessions_created;
    metrics_.creation_duration.add(std::chrono::duration_cast<Microseconds>(clock_.instant() - start));
  }
  log_.info("session created", {{"session", id}, {"device", to_json(live->session->device_context().info())}});
  go(DeviceSessionState::active);
  touch(*live);
  watch(live);
  watch_later(live, options_.watch_interval);
  co_return live;
}

// A session whose set-up fails does not begin.
Async<void> DeviceSessionManager::declare(DeviceSession& session) {
  std::exception_ptr failure;
  try {
    for (const Step& step : options_.setups) session.add_setup(step);
    for (const Step& step : options_.teardowns) session.add_teardown(step);
    if (session.wants_watch()) co_await session.watch(clock_.instant() + options_.watch_timeout);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  try {
    co_await session.end();
  } catch (const ResourceCleanupError& error) {
    log_.warning("session clean-up failed", {{"session", session.id()}, {"error", to_text(error.to_json())}});
  }
  std::rethrow_exception(failure);
}

void DeviceSessionManager::watch_later(const std::shared_ptr<Live>& live, Milliseconds wait) {
  live->watch = clock_.set_alarm(clock_.instant() + wait, executor_, [this, weak = std::weak_ptr(live), wait] {
    const auto strong = weak.lock();
    if (strong == nullptr) return;
    if (!strong->session->wants_watch()) return watch_later(strong, options_.watch_interval);
    expiring_.spawn(watch_board(strong, wait));
  });
}

Async<void> DeviceSessionManager::watch_board(std::shared_ptr<Live> live, Milliseconds wait) {
  std::string failure;
  try {
    for (const BackgroundThreadInfo& thread :
         co_await live->session->watch(clock_.instant() + options_.watch_timeout)) {
      note_news(thread);
    }
  } catch (const Error& error) {
    failure = error.message();
  }
  if (!live_.contains(live->session->id())) co_return;
  if (failure.empty()) {
    wait = options_.watch_interval;
  } else {
    log_.warning("board is not well", {{"session", live->session->id()}, {"error", failure}});
    wait = std::max(options_.watch_interval, std::min(wait * 2, longest_watch_wait));
  }
  watch_later(live, wait);
}

void DeviceSessionManager::note_news(const BackgroundThreadInfo& thread) {
  JsonObject fields{{"session", thread.session_id}, {"thread", thread.thread_id}, {"state", to_string(thread.state)}};
  if (thread.error) fields["error"] = thread.error->message();
  if (thread.state == ThreadState::running || thread.state == ThreadState::ended) {
    log_.info("background thread", fields);
  } else {
    log_.warning("background thread", fields);
  }
  if (hear_thread_) hear_thread_(thread);
}

Async<Capabilities> DeviceSessionManager::ask(Board& board) {
  std::optional<Error> failure;
  try {
    co_return co_await board.capabilities(clock_.instant() + options_.capability_timeout);
  } catch (const Error& error) {
    if (!options_.fallback_capabilities) throw;
    failure = error;
  }
  log_.warning("fallback capabilities", {{"cause", failure->message()}});
  co_return fallback_capabilities();
}

void DeviceSessionManager::touch(Live& live) {
  live.last_use = clock_.instant();
  current_ = live.session->id();
}

// The alarm is set again only when it rings, so that use costs nothing but a note of the time.
void DeviceSessionManager::watch(const std::shared_ptr<Live>& live) {
  live->alarm = clock_.set_alarm(live->last_use + options_.default_session_timeout, executor_,
                                 [this, weak = std::weak_ptr(live)] {
                                   if (const auto strong = weak.lock()) expire_if_idle(strong);
                                 });
}

void DeviceSessionManager::expire_if_idle(const std::shared_ptr<Live>& live) {
  if (live->users > 0) live->last_use = clock_.instant();
  live->last_use = std::max(live->last_use, live->session->last_use());
  if (clock_.instant() < live->last_use + options_.default_session_timeout) return watch(live);
  log_.info("session expired", {{"session", live->session->id()}});
  expiring_.spawn(finish_quietly(live));
}

Async<void> DeviceSessionManager::finish(std::shared_ptr<Live> live) {
  live_.erase(live->session->id());
  live->alarm.reset();
  live->watch.reset();
  ending_.insert(live->board);
  const std::string& id = live->session->id();
  const std::size_t resources = live->session->resource_stats().total_resources;
  JsonArray failures;
  try {
    co_await live->session->end();
  } catch (const ResourceCleanupError& error) {
    failures = error.failures();
  }
  ending_.erase(live->board);
  ended_.notify_all();
  std::size_t left = 0;
  for (const Json& failure : failures) {
    left += failure.at("kind") != Json("teardown");
    log_.warning("resource clean-up failed", {{"session", id}, {"failure", failure}});
  }
  log_.info("session ended", {{"session", id}, {"resources_cleaned_up", resources - std::min(left, resources)}});
  if (!failures.empty()) throw ResourceCleanupError(std::move(failures));
}

Async<void> DeviceSessionManager::finish_quietly(std::shared_ptr<Live> live) {
  try {
    co_await finish(std::move(live));
  } catch (const ResourceCleanupError&) {
    // The log has every failure.
  }
}

Async<void> DeviceSessionManager::end(std::string id) {
  const auto found = live_.find(id);
  if (found == live_.end()) {
    throw SessionError(ErrorCode::session_not_found, fmt::format("there is no device session {}", to_valid_utf8(id)),
                       id);
  }
  co_await finish(found->second);
}

Async<void> DeviceSessionManager::close() {
  if (state_ != DeviceSessionState::disposed) go(DeviceSessionState::shutdown);
  JsonArray failures;
  while (!live_.empty()) {
    try {
      co_await finish(live_.begin()->second);
    } catch (const ResourceCleanupError& error) {
      for (const Json& failure : error.failures()) failures.push_back(failure);
    }
  }
  co_await expiring_.join();
  go(DeviceSessionState::disposed);
  if (!failures.empty()) throw ResourceCleanupError(std::move(failures));
}

void DeviceSessionManager::dispose() {
  for (const auto& [id, live] : std::exchange(live_, {})) {
    live->alarm.reset();
    live->watch.reset();
    JsonArray left;
    for (const std::string& resource : live->session->abandon()) left.push_back(Json(resource));
    log_.warning("session abandoned", {{"session", id}, {"left", std::move(left)}});
  }
  go(DeviceSessionState::disposed);
}

}  // namespace sojourn::device
