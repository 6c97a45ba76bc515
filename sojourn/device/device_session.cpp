#include "sojourn/device/device_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <ranges>

namespace sojourn::device {

namespace {

constexpr std::int64_t method_cost = 1;

void add_failure(JsonArray& failures, std::string_view id, std::string_view kind, const Error& error) {
  failures.push_back(JsonObject{{"id", id}, {"kind", kind}, {"message", error.message()}});
}

void insert(std::vector<Step>& steps, Step step) {
  const auto place = std::ranges::upper_bound(steps, step.order, {}, &Step::order);
  steps.insert(place, std::move(step));
}

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
      resources_(std::move(executor), clock) {}

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
  resources_.add(std::move(resource));
}

ResourceUsageStats DeviceSession::resource_stats() const {
  ResourceUsageStats stats{.deployed_methods = methods_.size()};
  for (const auto& [kind, use] : resources_.use()) {
    stats.resources_by_type[kind] = use.count;
    stats.total_resources += use.count;
    stats.total_resource_cost += use.cost;
  }
  if (methods_.empty()) return stats;
  stats.resources_by_type["method"] += methods_.size();
  stats.total_resources += methods_.size();
  stats.total_resource_cost += method_cost * static_cast<std::int64_t>(methods_.size());
  return stats;
}

void DeviceSession::add_setup(Step step) {
  require_active();
  if (prepared_boot_ != 0) {
    throw SessionError(ErrorCode::invalid_request, fmt::format("set-up '{}' comes too late: it has run", step.name),
                       id());
  }
  insert(setups_, std::move(step));
}

void DeviceSession::add_teardown(Step step) {
  require_active();
  insert(teardowns_, std::move(step));
}

// Sees to it that set-up has run in the board's present memory.
Async<void> DeviceSession::prepare(Instant deadline) {
  require_active();
  last_use_ = clock_.instant();
  if (board_.link().state() != ConnectionState::connected) co_await board_.open(deadline);
  const std::uint64_t boot = board_.link().boot();
  if (boot == prepared_boot_) co_return;
  for (const Step& step : setups_) {
    try {
      co_await board_.exec(step.code, std::min(deadline, clock_.instant() + step.timeout), {.place = step.place});
    } catch (const Error& error) {
      if (!step.ignore_errors) throw;
    }
  }
  prepared_boot_ = boot;
}

Async<std::string> DeviceSession::exec(std::string code, Instant deadline, RunOptions options) {
  const auto turn = co_await turn_.take();
  co_await prepare(deadline);
  try {
    co_return co_await board_.exec(code, deadline, options);
  } catch (const Error& error) {
    if (!has_not_begun(error)) throw;
  }
  co_await prepare(deadline);
  co_return co_await board_.exec(std::move(code), deadline, std::move(options));
}

Async<Value> DeviceSession::eval(std::string expression, Instant deadline, RunOptions options) {
  const auto turn = co_await turn_.take();
  co_await prepare(deadline);
  try {
    co_return co_await board_.eval(expression, deadline, options);
  } catch (const Error& error) {
    if (!has_not_begun(error)) throw;
  }
  co_await prepare(deadline);
  co_return co_await board_.eval(std::move(expression), deadline, std::move(options));
}

Async<Value> DeviceSession::call(Function function, std::vector<Value> arguments, Instant deadline,
                                 RunOptions options) {
  const auto turn = co_await turn_.take();
  co_await prepare(deadline);
  const std::string code = Board::call_code(function, arguments);
  try {
    co_await board_.deploy(function, deadline);
    methods_.insert(function.name);
    co_return co_await board_.eval(code, deadline, options);
  } catch (const Error& error) {
    if (!has_not_begun(error)) throw;
  }
  co_await prepare(deadline);
  co_await board_.deploy(std::move(function), deadline);
  co_return co_await board_.eval(code, deadline, std::move(options));
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
  co_await forget_methods(failures);
  if (!failures.empty()) throw ResourceCleanupError(std::move(failures));
}

// Undoes what was set up in the board's present memory; in another there is nothing to undo.
Async<void> DeviceSession::tear_down(JsonArray& failures) {
  if (prepared_boot_ != board_.link().boot()) co_return;
  for (const Step& step : teardowns_) {
    try {
      const Instant deadline = clock_.instant() + std::min(step.timeout, options_.cleanup_timeout);
      co_await board_.exec(step.code, deadline, {.place = step.place});
    } catch (const Error& error) {
      if (!step.ignore_errors) add_failure(failures, step.name, "teardown", error);
    }
  }
}

Async<void> DeviceSession::forget_methods(JsonArray& failures) {
  for (const std::string& name : methods_ | std::views::reverse) {
    try {
      co_await board_.remove(name, clock_.instant() + options_.cleanup_timeout);
    } catch (const Error& error) {
      if (!has_not_begun(error)) add_failure(failures, name, "method", error);
    }
  }
  methods_.clear();
}

std::vector<std::string> DeviceSession::abandon() {
  active_ = false;
  std::vector<std::string> left(methods_.begin(), methods_.end());
  methods_.clear();
  for (const session::Resource& resource : resources_.open()) {
    left.push_back(resource.id);
    resources_.release(resource.id);
  }
  return left;
}

}  // namespace sojourn::device
