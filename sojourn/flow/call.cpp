#include "sojourn/flow/call.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sojourn/flow/core.hpp"

namespace sojourn::flow {

namespace {

Text text_of(const Json& value) {
  try {
    return std::make_shared<const std::string>(to_text(value));
  } catch (const Error& error) {
    // The call is worth more than its record.
    return std::make_shared<const std::string>(to_text(Json{{"not_recorded", error.message()}}));
  }
}

bool is_fatal(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Fatal&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

Scope::Scope(Run& run, Job& job, const Scope* caller, std::shared_ptr<const NodeType> type)
    : run_(run),
      job_(job),
      caller_(caller),
      type_(std::move(type)),
      depth_(caller == nullptr ? 0 : caller->depth_ + 1) {}

Context& Scope::context() const {
  return run_.core->context;
}

Strategy& Scope::strategy() const {
  return run_.core->strategy;
}

Instant Scope::deadline() const {
  return run_.deadline;
}

const std::string& Scope::session_id() const {
  return run_.core->id;
}

std::vector<std::string> Scope::path() const {
  std::vector<std::string> names(depth_ + 1);
  std::size_t place = names.size();
  for (const Scope* scope = this; scope != nullptr; scope = scope->caller_) names[--place] = scope->node_name();
  return names;
}

Call::Call(Scope& scope) : scope_(scope), recorded_(scope.run_.core->config.record) {
  if (scope.job_.is_cancelled()) {
    throw Error(ErrorCode::cancelled,
                fmt::format("node \"{}\" did not begin: the run was stopped", scope.node_name()));
  }
  if (scope.depth_ >= max_depth) {
    throw Error(ErrorCode::too_large,
                fmt::format("node \"{}\" is {} calls deep: the limit of one run", scope.node_name(), scope.depth_));
  }
}

void Call::begin(const JsonArray& arguments) {
  Core& core = *scope_.run_.core;
  began_ = core.clock.instant();
  scope_.id_ = core.record.begin(scope_.type_, scope_.caller_ == nullptr ? std::nullopt : scope_.caller_->id_,
                                 text_of(arguments), core.clock.now());
}

Nanoseconds Call::elapsed() const {
  return scope_.run_.core->clock.instant() - began_;
}

void Call::complete(const Json& output) {
  Core& core = *scope_.run_.core;
  core.record.complete(*scope_.id_, text_of(output), core.clock.now(), elapsed());
}

void Call::fail(const std::exception_ptr& error) noexcept {
  Core& core = *scope_.run_.core;
  const Failure failure = failure_of(error);
  const bool stopped = scope_.job_.is_cancelled();
  if (recorded_) core.record.fail(*scope_.id_, failure, core.clock.now(), elapsed());
  if (stopped || !(core.config.end_on_error || is_fatal(error))) return;
  const std::string path = fmt::format("{}", fmt::join(scope_.path(), " > "));
  scope_.run_.stop(Error(
      ErrorCode::app_error,
      fmt::format("the run ended with an error in node \"{}\" ({}): {}", scope_.node_name(), path, failure.message),
      {{"node", scope_.node_name()}, {"path", path}, {"type", failure.type}}));
}

std::exception_ptr not_begun() {
  return std::make_exception_ptr(Error(ErrorCode::cancelled, "the call did not begin: the run was stopped"));
}

}  // namespace sojourn::flow
