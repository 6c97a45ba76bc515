#include "sojourn/device/device_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <ranges>

namespace sojourn::device {

namespace {

constexpr std::int64_t method_cost = 1;
constexpr std::int64_t thread_cost = 1;

}  // namespace

DeviceSession::DeviceSession(std::string id, Board& board, Capabilities capabilities, Executor executor, Clock& clock,
                             Options options)
    : state_(std::move(id)),
      board_(board),
      capabilities_(std::move(capabilities)),
      clock_(clock),
      options_(options),
      created_at_(clock.now()),
      last_use_(clock.instant()),
      executors_(state_.id(), board, clock),
      resources_(std::move(executor), clock),
      device_(state_.id(), board, capabilities_),
      files_(*this) {}

DeviceSession::~DeviceSession() {
  assert(!active_);
}

void DeviceSession::require_active() const {
  if (!active_) throw SessionError(ErrorCode::session_ended, fmt::format("session ended: {}", id()), id());
}

void DeviceSession::add_resource(session::Resource resource) {
  require_active();
  if (!options_.resource_tracking) return;
  resource.deadline = std::min(resource.deadline, options_.cleanup_timeout);
  const std::string kind = resource.kind;
  const std::string resource_id = resource.id;
  const std::int64_t cost = resource.cost;
  resources_.add(std::move(resource));
  note_registered(kind, resource_id, cost);
}

void DeviceSession::note_registered(std::string_view kind, std::string_view resource_id, std::int64_t cost) const {
  if (options_.metrics != nullptr) options_.metrics->count_resource(kind);
  if (options_.log == nullptr) return;
  options_.log->debug(
      "resource registered",
      {{"session", id()}, {"type", to_valid_utf8(kind)}, {"resource", to_valid_utf8(resource_id)}, {"cost", cost}});
}

ResourceUsageStats DeviceSession::resource_stats() const {
  const std::size_t methods = executors_.method_count();
  ResourceUsageStats stats{.background_threads = executors_.board_threads().active(), .deployed_methods = methods};
  for (const auto& [kind, use] : resources_.use()) {
    stats.resources_by_type[kind] = use.count;
    stats.total_resources += use.count;
    stats.total_resource_cost += use.cost;
  }
  if (methods == 0) return stats;
  stats.resources_by_type["method"] += methods;
  stats.total_resources += methods;
  stats.total_resource_cost += method_cost * static_cast<std::int64_t>(methods);
  return stats;
}

void DeviceSession::add_setup(Step step) {
  require_active();
  if (prepared_boot_ != 0) {
    throw SessionError(ErrorCode::invalid_request, fmt::format("set-up '{}' comes too late: it has run", step.name),
                       id());
  }
  setups_.add(std::move(step));
}

void DeviceSession::add_teardown(Step step) {
  require_active();
  teardowns_.add(std::move(step));
}

Async<AsyncMutex::Turn> DeviceSession::take_turn(Instant deadline) {
  auto turn = co_await turn_.take_until(clock_, deadline);
  if (!turn) {
    throw SessionError(ErrorCode::call_timeout, "other operations of the device session ran until the deadline",
                       id());
  }
  require_active();
  co_return std::move(*turn);
}

// A board that started anew says so before it runs anything, so that what had not begun can be tried once more.
template <class F>
std::invoke_result_t<F&> DeviceSession::twice_unless_begun(F attempt) {
  try {
    co_return co_await attempt();
  } catch (const Error& error) {
    if (!has_not_begun(error)) throw;
  }
  co_return co_await attempt();
}

template <class F>
std::invoke_result_t<F&> DeviceSession::when_prepared(Instant deadline, F operation) {
  co_return co_await twice_unless_begun([&] { return prepare_and_do(operation, deadline); });
}

template <class F>
std::invoke_result_t<F&> DeviceSession::prepare_and_do(F& operation, Instant deadline) {
  co_await prepare(deadline);
  co_return co_await operation();
}

// Sees to it that set-up has run and threads run in the board's present memory, or what of this runs by itself.
Async<void> DeviceSession::prepare(Instant deadline, bool auto_run_only) {
  if (board_.link().state() != ConnectionState::connected) co_await board_.open(deadline);
  const std::uint64_t boot = board_.link().boot();
  if (boot == prepared_boot_) co_return;
  used_boot_ = boot;
  while (const std::optional<Step> step = setups_.next_due(boot, auto_run_only)) {
    try {
      co_await run_on_board(*step, deadline);
    } catch (const Error& error) {
      if (!step->ignore_errors || has_not_begun(error)) throw;
    }
    setups_.note_run(step->name, boot);
  }
  if (auto_run_only) co_return;
  co_await executors_.board_threads().restore(deadline);
  prepared_boot_ = boot;
}

Async<std::string> DeviceSession::run_on_board(Step step, Instant deadline) {
  deadline = std::min(deadline, clock_.instant() + step.timeout);
  auto running = board_.exec(std::move(step.code), deadline, {.place = std::move(step.place)});
  if (!step.exclusive) co_return co_await std::move(running);
  co_return co_await run_alone(std::move(running), deadline);
}

// The link runs one script at a time, so all that could come between is threads.
template <class T>
Async<T> DeviceSession::run_alone(Async<T> operation, Instant deadline) {
  co_await executors_.board_threads().hold(deadline);
  std::optional<T> result;
  std::exception_ptr failure;
  try {
    result.emplace(co_await std::move(operation));
  } catch (...) {
    failure = std::current_exception();
  }
  try {
    co_await executors_.board_threads().let_go(std::max(deadline, clock_.instant() + Milliseconds(100)));
  } catch (const Error&) {
    // They go on by themselves at the deadline.
  }
  if (failure) std::rethrow_exception(failure);
  co_return std::move(*result);
}

Async<std::string> DeviceSession::run_step(std::string name, Instant deadline) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  const Step* const found = setups_.find(name) != nullptr ? setups_.find(name) : teardowns_.find(name);
  if (found == nullptr) throw Error(ErrorCode::not_found, fmt::format("there is no step '{}'", to_valid_utf8(name)));
  const Step step = *found;
  co_return co_await twice_unless_begun([&] { return run_now(step, deadline); });
}

Async<std::string> DeviceSession::run_now(Step step, Instant deadline) {
  // Once the session was prepared, so is each memory that the board begins.
  if (prepared_boot_ != 0) co_await prepare(deadline);
  if (board_.link().state() != ConnectionState::connected) co_await board_.open(deadline);
  used_boot_ = board_.link().boot();
  const std::string name = step.name;
  std::string printed = co_await run_on_board(std::move(step), deadline);
  setups_.note_run(name, used_boot_);
  co_return printed;
}

Async<std::string> DeviceSession::exec(std::string code, Instant deadline, RunOptions options) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  co_return co_await when_prepared(deadline, [&] { return board_.exec(code, deadline, options); });
}

Async<Value> DeviceSession::eval(std::string expression, Instant deadline, RunOptions options) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  co_return co_await when_prepared(deadline, [&] { return board_.eval(expression, deadline, options); });
}

Async<Value> DeviceSession::call(Function function, std::vector<Value> arguments, Instant deadline,
                                 RunOptions options) {
  return run({.function = std::move(function), .timeout = Milliseconds::max()}, std::move(arguments), deadline,
             std::move(options));
}

Async<Value> DeviceSession::run(Task task, std::vector<Value> arguments, Instant deadline, RunOptions options) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  if (task.timeout != Milliseconds::max()) deadline = std::min(deadline, last_use_ + task.timeout);
  co_return co_await when_prepared(deadline, [&] { return deploy_and_call(task, arguments, deadline, options); });
}

Async<Value> DeviceSession::deploy_and_call(Task task, std::vector<Value> arguments, Instant deadline,
                                            RunOptions options) {
  co_await deploy(task.function, deadline);
  auto running = board_.call_once(std::move(task.function), std::move(arguments), deadline, std::move(options));
  if (task.exclusive) co_return co_await run_alone(std::move(running), deadline);
  co_return co_await std::move(running);
}

Async<void> DeviceSession::deploy(Function function, Instant deadline) {
  const std::size_t methods = executors_.method_count();
  const std::string name = function.name;
  co_await executors_.deploy(std::move(function), deadline);
  if (executors_.method_count() > methods) note_registered("method", name, method_cost);
}

Async<std::string> DeviceSession::start_thread(Function function, std::vector<Value> arguments, Instant deadline,
                                               ThreadOptions options) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  const std::string id = executors_.allocate_thread_id(function.name);
  resources_.add({.id = id,
                  .kind = "thread",
                  .cost = thread_cost,
                  .cleanup = [this, id] { return stop_for_good(id); },
                  .deadline = options_.cleanup_timeout});
  note_registered("thread", id, thread_cost);
  if (options_.log != nullptr) {
    const JsonObject fields{{"session", state_.id()}, {"thread", id}, {"method", to_valid_utf8(function.name)}};
    options_.log->debug("background thread registered", fields);
  }
  BoardThreads& threads = executors_.board_threads();
  try {
    co_await when_prepared(deadline, [&] { return deploy_and_start(id, function, arguments, options, deadline); });
  } catch (const Error&) {
    if (!threads.has(id)) resources_.release(id);
    throw;
  }
  co_return id;
}

Async<void> DeviceSession::deploy_and_start(std::string id, Function function, std::vector<Value> arguments,
                                            ThreadOptions options, Instant deadline) {
  co_await deploy(function, deadline);
  co_await executors_.board_threads().start(std::move(id), std::move(function), std::move(arguments), options,
                                            deadline);
}

Async<void> DeviceSession::stop_thread(std::string id, Instant deadline) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  co_await executors_.board_threads().stop(id, deadline);
  resources_.release(id);
}

// When the session ends. The thread's own time is shorter than that of its clean-up, which could not name it.
Async<void> DeviceSession::stop_for_good(std::string id) {
  BoardThreads& threads = executors_.board_threads();
  const ThreadOptions* const options = threads.options_of(id);
  if (options == nullptr) co_return;
  co_await threads.stop(id, clock_.instant() + std::min(options->stop_timeout, options_.cleanup_timeout * 3 / 4));
}

bool DeviceSession::wants_watch() const {
  return active_ && (setups_.any_auto_run() || !executors_.board_threads().empty());
}

Async<std::vector<BackgroundThreadInfo>> DeviceSession::watch(Instant deadline) {
  const auto turn = co_await turn_.take_until(clock_, deadline);
  if (!turn) co_return std::vector<BackgroundThreadInfo>();  // an operation runs, and would notice
  require_active();
  BoardThreads& threads = executors_.board_threads();
  if (board_.link().state() != ConnectionState::connected) co_await board_.open(deadline);
  if (threads.empty() && used_boot_ != 0) {
    try {
      co_await board_.eval("0", deadline);  // a board that started anew says so when it is asked
    } catch (const Error& error) {
      if (!has_not_begun(error)) throw;
    }
  }
  std::vector<BackgroundThreadInfo> news = co_await threads.check(deadline);
  co_await prepare(deadline, !threads.wants_restore());
  for (BackgroundThreadInfo& thread : news) {
    for (BackgroundThreadInfo& now : threads.list()) {
      if (now.thread_id == thread.thread_id) thread = std::move(now);
    }
  }
  co_return news;
}

Async<void> DeviceSession::use(std::function<Async<void>(Board&)> operation, Instant deadline) {
  const auto turn = co_await take_turn(deadline);
  last_use_ = clock_.instant();
  co_await prepare(deadline);
  co_await operation(board_);
}

Async<void> DeviceSession::end() {
  const auto turn = co_await turn_.take();
  if (!std::exchange(active_, false)) co_return;
  JsonArray failures;
  co_await tear_down(failures);
  try {
    co_await resources_.cleanup();
  } catch (const Error& error) {
    for (const Json& failure : error.details().at("failures").as_array()) failures.push_back(failure);
  }
  co_await executors_.forget(options_.cleanup_timeout, failures);
  executors_.abandon();
  files_.forget();
  if (!failures.empty()) throw ResourceCleanupError(std::move(failures));
}

// Undoes what was set up in the board's present memory; in another there is nothing to undo.
Async<void> DeviceSession::tear_down(JsonArray& failures) {
  if (used_boot_ == 0 || used_boot_ != board_.link().boot()) co_return;
  for (const Step& step : teardowns_.all()) {
    try {
      co_await run_on_board(step, clock_.instant() + options_.cleanup_timeout);
    } catch (const Error& error) {
      if (!step.ignore_errors) add_failure(failures, step.name, "teardown", error);
    }
  }
}

std::vector<std::string> DeviceSession::abandon() {
  active_ = false;
  std::vector<std::string> left = executors_.abandon();
  for (const session::Resource& resource : resources_.open()) {
    left.push_back(resource.id);
    resources_.release(resource.id);
  }
  return left;
}

}  // namespace sojourn::device
