#include "sojourn/steps/step_runner.hpp"

#include <fmt/format.h>

#include <utility>

namespace sojourn::steps {

namespace {

constexpr std::size_t message_bytes = 4096;  // of a failure in the step's record; the outcome has all of it

// The caller's id for all that belongs together, or else the session's own.
std::string trace_id_of(const session::Session& session) {
  const Json* given = session.context().if_contains("trace_id");
  return given != nullptr && given->is_string() ? std::string(given->get_string()) : session.id();
}

JsonObject ids_of(const session::Session& session, int step_index) {
  return {{"session_id", session.id()}, {"step_index", step_index}, {"trace_id", trace_id_of(session)}};
}

// Calls `work`, and names the hook in what it throws.
template <class F>
void call_hook(std::string_view name, StepCode otherwise, F work) {
  try {
    work();
  } catch (...) {
    const StepError failed = to_step_error(std::current_exception(), otherwise);
    throw StepError(failed.code(), fmt::format("{}: {}", name, failed.message()));
  }
}

}  // namespace

JsonObject Outcome::to_json() const {
  JsonObject json = result.to_json();
  json["step_index"] = step_index;
  json["latency_us"] = latency.count();
  return json;
}

StepRunner::StepRunner(AlgorithmFactory factory, Recorder& recorder, Clock& clock, RunnerOptions options)
    : factory_(std::move(factory)), recorder_(recorder), clock_(clock), options_(options) {
  set_up();
}

StepRunner::~StepRunner() {
  try {
    close();
  } catch (const StepError& error) {
    recorder_.log(LogLevel::error, error.message(), {});
  }
}

void StepRunner::set_up() {
  std::shared_ptr<Algorithm> algorithm;
  JsonObject declared;
  call_hook("its constructor", StepCode::setup_failed, [&] { algorithm = factory_(); });
  algorithm->logger.bind(&recorder_, {});
  // What C++ declares is held to the same rules as what another language tells as JSON.
  call_hook("get_info", StepCode::setup_failed, [&] { declared = algorithm->get_info().to_json(); });
  info_ = Info::from_json(declared);
  call_hook("setup", StepCode::setup_failed, [&] { algorithm->setup(); });
  algorithm_ = std::move(algorithm);
}

void StepRunner::tear_down() {
  const auto algorithm = std::exchange(algorithm_, nullptr);
  if (algorithm) call_hook("teardown", StepCode::hook_failed, [&] { algorithm->teardown(); });
}

void StepRunner::close() {
  tear_down();
}

Outcome StepRunner::pre_execute(session::Session& session, const StepInput& input) {
  return run(session, input, Parts::pre_execute);
}

Outcome StepRunner::execute(session::Session& session, const StepInput& input) {
  return run(session, input, Parts::execute);
}

Outcome StepRunner::run_step(session::Session& session, const StepInput& input) {
  return run(session, input, Parts::both);
}

Outcome StepRunner::run(session::Session& session, const StepInput& input, Parts parts) {
  const Instant start = clock_.instant();
  Outcome outcome{.step_index = input.step_index, .result = {}};
  bool begun = false;
  try {
    if (!algorithm_) set_up();
    if (open_ && open_->index != input.step_index) {
      throw StepError(StepCode::step_not_allowed,
                      fmt::format("step_index is {} while step {} is open; execute that, or reset", input.step_index,
                                  open_->index));
    }
    const JsonObject params = checked(info_.step(input.step_index).params, input.user_params);
    info_.check_pid(input.pid);
    begun = true;
    begin(session, input);
    const Shot shot{input.step_index, input.pid, params, input.shared_mem_id, input.image_meta};
    outcome.result = run_parts(session, shot, parts);
  } catch (...) {
    outcome.result = Result::error(to_step_error(std::current_exception()));
  }
  if (!begun) return outcome;
  if (open_) outcome.latency = open_->worked += std::chrono::duration_cast<Microseconds>(clock_.instant() - start);
  if (parts != Parts::pre_execute || !outcome.result.ok) finish(session, outcome);
  keep_state(session, outcome.result.ok);
  return outcome;
}

// Opens the step, unless it is open.
void StepRunner::begin(session::Session& session, const StepInput& input) {
  if (open_) return;
  algorithm_->diagnostics.clear();
  algorithm_->logger.bind(&recorder_, ids_of(session, input.step_index));
  call_hook("on_step_start", StepCode::hook_failed, [&] {
    algorithm_->on_step_start(input.step_index, session, {{"pid", input.pid}, {"trace_id", trace_id_of(session)}});
  });
  open_ = OpenStep{.index = input.step_index};
}

Result StepRunner::run_parts(session::Session& session, const Shot& shot, Parts parts) {
  if (parts == Parts::pre_execute) return run_phase(session, shot, Phase::pre_execute);
  if (parts == Parts::execute) return run_phase(session, shot, Phase::execute);
  Result prepared = run_phase(session, shot, Phase::pre_execute);
  if (!prepared.ok) return prepared;
  Result result = run_phase(session, shot, Phase::execute);
  if (!result.ok) return result;
  // The verdict is the step's; what was found before the shot stands beside it.
  for (const auto& [key, value] : prepared.data) result.data.emplace(key, value);
  return result;
}

Result StepRunner::run_phase(session::Session& session, const Shot& shot, Phase phase) {
  Result result =
      phase == Phase::execute ? algorithm_->execute(shot, session) : algorithm_->pre_execute(shot, session);
  check(result, phase);
  return result;
}

// The step is over: calls its last hook where its first one worked, and records it.
void StepRunner::finish(session::Session& session, Outcome& outcome) {
  if (std::exchange(open_, std::nullopt)) {
    try {
      call_hook("on_step_finish", StepCode::hook_failed,
                [&] { algorithm_->on_step_finish(outcome.step_index, session, outcome.result); });
    } catch (const StepError& error) {
      // The first failure is the outcome; this one is only said.
      if (outcome.result.ok) {
        outcome.result = Result::error(error);
      } else {
        recorder_.log(LogLevel::error, error.message(), ids_of(session, outcome.step_index));
      }
    }
  }
  record(outcome, ids_of(session, outcome.step_index));
  algorithm_->logger.bind(&recorder_, {{"session_id", session.id()}, {"trace_id", trace_id_of(session)}});
  if (!outcome.result.is_fatal()) return;
  try {
    tear_down();
  } catch (const StepError& error) {
    recorder_.log(LogLevel::error, error.message(), ids_of(session, outcome.step_index));
  }
}

void StepRunner::record(const Outcome& outcome, const JsonObject& ids) {
  JsonObject record = ids;
  record["status"] = outcome.result.ok ? "OK" : "ERROR";
  record["latency_us"] = outcome.latency.count();
  if (outcome.result.ok) {
    record["result_status"] = outcome.result.is_good() ? "OK" : "NG";
  } else {
    record["error_code"] = outcome.result.error_code;
    record["message"] = to_valid_utf8(outcome.result.message.substr(0, message_bytes));
  }
  if (!algorithm_->diagnostics.get().empty()) record["diagnostics"] = algorithm_->diagnostics.get();
  recorder_.step_finished(std::move(record));
}

void StepRunner::keep_state(session::Session& session, bool worked) {
  if (!options_.keeps_state) return;
  if (worked) {
    session.state().accept();
  } else {
    session.state().discard();
  }
}

void StepRunner::keep(session::Session& session, std::string_view key, const Json& value) {
  session.set(key, value);
  keep_state(session, true);
}

void StepRunner::reset(session::Session& session) {
  open_.reset();
  if (!algorithm_) set_up();
  try {
    call_hook("reset", StepCode::hook_failed, [&] { algorithm_->reset(session); });
  } catch (const StepError&) {
    keep_state(session, false);
    throw;
  }
  session.state().clear();
  keep_state(session, true);
}

}  // namespace sojourn::steps
