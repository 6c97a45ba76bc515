#include "sojourn/flow/call.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "sojourn/flow/core.hpp"
#include "sojourn/flow/run_journal.hpp"

namespace sojourn::flow {

namespace {

constexpr std::size_t told_bytes = 1'000;  // of a message within an error's details

Text text_of(const Json& value, bool must_be_whole) {
  if (must_be_whole) return std::make_shared<const std::string>(to_text(value));
  try {
    return std::make_shared<const std::string>(to_text(value));
  } catch (const Error& error) {
    // The call is worth more than its record.
    return std::make_shared<const std::string>(to_text(Json{{"not_recorded", error.message()}}));
  }
}

// What the journal said of it when it was to begin: it has that already.
bool was_journals_word(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return known.code() == ErrorCode::uncertain || known.details().contains("journal");
  } catch (...) {
    return false;
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

void ChunkSink::put(const Json& chunk) {
  const std::scoped_lock lock(mutex_);
  if (take_) take_(chunk);
}

void ChunkSink::close() {
  const std::scoped_lock lock(mutex_);
  take_ = nullptr;
}

Scope::Scope(Run& run, Job& job, Origin origin, std::shared_ptr<const NodeType> type)
    : run_(run),
      job_(job),
      origin_(std::move(origin)),
      type_(std::move(type)),
      depth_(origin_.caller == nullptr ? 0 : origin_.caller->depth_ + 1),
      key_(key_below(origin_.caller == nullptr ? 0 : origin_.caller->key_, origin_.place)) {}

Context& Scope::context() const {
  return run_.core->context;
}

Strategy& Scope::strategy() const {
  return run_.core->strategy;
}

std::size_t Scope::width_of(BatchOptions options, bool is_plain) const {
  // A plain function never waits, unless it is for its journal: more jobs than threads would only wait for each
  // other.
  if (!is_plain || run_.core->journal) return options.width;
  return std::min<std::size_t>(options.width, strategy().width());
}

namespace {

Async<bool> make(const AnyCall& call, Run& run, Job& job, const Scope& caller, std::uint64_t place) {
  co_await call(run, job, caller, place);
  co_return true;
}

}  // namespace

Async<void> Scope::call_each(std::vector<AnyCall> calls, BatchOptions options) {
  const std::uint64_t first = std::exchange(places_, places_ + calls.size());
  co_await fan_out(job_.shared_from_this(), strategy(), {.count = calls.size(), .width = options.width},
                   [&](Job& job, std::size_t index) { return make(calls[index], run_, job, *this, first + index); });
}

bool Scope::injects_prompts() const {
  return run_.core->config.prompt_injection;
}

void Scope::note_model_call(ModelCall asked) const {
  if (id_) run_.core->record.note_model_call(*id_, std::move(asked));
}

Clock& Scope::clock() const {
  return run_.core->clock;
}

Instant Scope::deadline() const {
  return run_.deadline;
}

const std::string& Scope::session_id() const {
  return run_.core->id;
}

void Scope::broadcast(Json item) const {
  Core& core = *run_.core;
  core.publisher.publish(core.clock.now(), BroadcastEvent{.call = id_, .item = std::move(item)});
}

void Scope::emit(const Json& chunk) const {
  if (origin_.chunks) origin_.chunks->put(chunk);
}

void Scope::log(LogLevel level, std::string_view message, const JsonObject& fields) const noexcept {
  const Core& core = *run_.core;
  core.log.write(core.clock.now(), level, message, fields);
}

std::vector<std::string> Scope::path() const {
  std::vector<std::string> names(depth_ + 1);
  std::size_t place = names.size();
  for (const Scope* scope = this; scope != nullptr; scope = scope->origin_.caller)
    names[--place] = scope->node_name();
  return names;
}

Call::Call(Scope& scope)
    : scope_(scope),
      journal_(scope.run_.core->journal.get()),
      recorded_(scope.run_.core->config.record || journal_ != nullptr) {
  if (scope.job_.is_cancelled()) {
    refuse(Error(ErrorCode::cancelled,
                 fmt::format("node \"{}\" did not begin: the run was stopped", scope.node_name())));
  }
  if (scope.depth_ >= max_depth) {
    refuse(Error(ErrorCode::too_large,
                 fmt::format("node \"{}\" is {} calls deep: the limit of one run", scope.node_name(), scope.depth_)));
  }
}

void Call::tell_not_begun(const std::exception_ptr& error) const {
  Core& core = *scope_.run_.core;
  core.publisher.publish(
      core.clock.now(),
      RequestCreationFailure{.caller = caller_id(), .node = scope_.type_, .failure = failure_of(error)});
}

void Call::refuse(const Error& error) const {
  if (recorded_) tell_not_begun(std::make_exception_ptr(error));
  throw Error(error);
}

Json Call::not_recorded(const std::exception_ptr& error) {
  return JsonObject{{"not_recorded", failure_of(error).message}};
}

std::optional<CallId> Call::caller_id() const {
  const Scope* const caller = scope_.origin_.caller;
  return caller == nullptr ? std::nullopt : caller->id_;
}

void Call::begin_with(const Json& arguments) {
  Core& core = *scope_.run_.core;
  began_ = core.clock.instant();
  const Time now = core.clock.now();
  Text input = text_of(arguments, is_kept());
  if (is_kept()) input_ = input;
  scope_.id_ = core.record.begin(scope_.type_, caller_id(), input, now);
  const Scope* const caller = scope_.origin_.caller;
  if (core.log.is_on(LogLevel::info)) {
    core.log.write(
        now, LogLevel::info,
        fmt::format("{} CREATED {}", caller == nullptr ? "START" : caller->node_name(), scope_.node_name()));
  }
  core.publisher.publish(now, RequestCreation{.call = *scope_.id_,
                                              .caller = caller_id(),
                                              .node = scope_.type_,
                                              .caller_node = caller == nullptr ? nullptr : caller->type_,
                                              .input = std::move(input)});
}

Nanoseconds Call::elapsed() const {
  return scope_.run_.core->clock.instant() - began_;
}

void Call::complete(const Json& output) {
  complete_with(text_of(output, false));
}

void Call::complete_with(Text text) {
  Core& core = *scope_.run_.core;
  const Time now = core.clock.now();
  const Nanoseconds duration = elapsed();
  core.record.complete(*scope_.id_, text, now, duration);
  if (core.log.is_on(LogLevel::info)) core.log.write(now, LogLevel::info, scope_.node_name() + " DONE");
  core.publisher.publish(now, RequestSuccess{.call = *scope_.id_,
                                             .caller = caller_id(),
                                             .node = scope_.type_,
                                             .output = std::move(text),
                                             .duration = duration});
}

void Call::fail(const std::exception_ptr& error) noexcept {
  Core& core = *scope_.run_.core;
  const Failure failure = failure_of(error);
  const bool stopped = scope_.job_.is_cancelled();
  const Time now = core.clock.now();
  core.log.write(now, LogLevel::error, fmt::format("{} FAILED: {}", scope_.node_name(), failure.message));
  if (recorded_) {
    const Nanoseconds duration = elapsed();
    core.record.fail(*scope_.id_, failure, now, duration);
    core.publisher.publish(now, RequestFailure{.call = *scope_.id_,
                                               .caller = caller_id(),
                                               .node = scope_.type_,
                                               .failure = failure,
                                               .duration = duration});
  }
  if (journal_ != nullptr && !stopped && !was_journals_word(error))
    journal_->fail_call(scope_.key_, *scope_.type_, *input_, failure);
  // A call that is to stop fails of that; but what is fatal ends the run also then.
  if (!is_fatal(error) && (stopped || !core.config.end_on_error)) return;
  const std::string path = fmt::format("{}", fmt::join(scope_.path(), " > "));
  const std::string message =
      fmt::format("the run ended with an error in node \"{}\" ({}): {}", scope_.node_name(), path, failure.message);
  const bool is_cause =
      scope_.run_.stop(Error(ErrorCode::app_error, message,
                             {{"node", scope_.node_name()},
                              {"path", path},
                              {"type", failure.type},
                              {"message", to_valid_utf8(std::string_view(failure.message).substr(0, told_bytes))}}));
  if (is_cause) core.publisher.publish(now, FatalFailure{.call = scope_.id_, .message = message});
}

Async<Text> Call::recall() {
  std::optional<Error> uncertain;
  try {
    co_return co_await journal_->begin_call(scope_.job_.lane(), scope_.key_, *scope_.type_, *input_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::uncertain) throw;
    uncertain = error;
  }
  // Not even a caller that would catch it may go on.
  scope_.run_.stop(*uncertain);
  throw Error(*uncertain);
}

Async<void> Call::keep(Json output) {
  // What it made of calls that were stopped is not what it would have made of them.
  if (scope_.job_.is_cancelled() && scope_.places_ > 0) co_return;
  Text text = text_of(output, true);
  co_await journal_->complete_call(scope_.job_.lane(), scope_.key_, *scope_.type_, *input_, *text);
  kept_ = std::move(text);
}

std::exception_ptr not_begun() {
  return std::make_exception_ptr(Error(ErrorCode::cancelled, "the call did not begin: the run was stopped"));
}

}  // namespace sojourn::flow
