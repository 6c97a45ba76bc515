#include "sojourn/steps/detection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::steps {

namespace {

JsonObject failure_outcome(const Result& failed) {
  JsonObject json = failed.to_json();
  json.erase("data");
  return json;
}

// Whether it is what a step that worked left behind.
bool is_outcome(const Json& value) {
  if (!value.is_object()) return false;
  const Json* latency = value.get_object().if_contains("latency_us");
  const Json* data = value.get_object().if_contains("data");
  if (latency == nullptr || !latency->is_int64() || data == nullptr || !data->is_object()) return false;
  const Json* verdict = data->get_object().if_contains("result_status");
  const Json* reason = data->get_object().if_contains("ng_reason");
  return verdict != nullptr && (*verdict != Json("NG") || (reason != nullptr && reason->is_string()));
}

}  // namespace

Detection::Detection(StepRunner& runner, session::Session& session, DetectionInput input)
    : runner_(runner), session_(session), input_(std::move(input)) {
  const std::size_t count = runner_.info().steps.size();
  if (input_.steps.size() > count) {
    throw StepError(StepCode::step_not_allowed,
                    fmt::format("steps: {} are given; {} has {}", input_.steps.size(), runner_.info().name, count));
  }
  runner_.info().check_pid(input_.pid);
  input_.steps.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    input_.steps[i].step_index = static_cast<int>(i) + 1;
    input_.steps[i].pid = input_.pid;
  }
  if (input_.resume) {
    resume();
  } else {
    runner_.reset(session_);
  }
}

void Detection::resume() {
  if (!runner_.info().resumable) {
    throw StepError(StepCode::step_not_allowed, fmt::format("resume: {} is not resumable", runner_.info().name));
  }
  const auto kept = session_.get(state_key);
  if (!kept || !kept->is_object()) throw StepError(StepCode::step_not_allowed, "resume: no detection was begun");
  const JsonObject& begun = kept->get_object();
  const Json* pid = begun.if_contains("pid");
  if (pid == nullptr || *pid != Json(input_.pid)) {
    throw StepError(StepCode::step_not_allowed, "resume: the detection that was begun is of another pid");
  }
  // Another version of the algorithm may have left it, or somebody who wrote into the state.
  const Json* steps = begun.if_contains("steps");
  if (steps == nullptr || !steps->is_array() || steps->get_array().size() > input_.steps.size() ||
      !std::ranges::all_of(steps->get_array(), is_outcome)) {
    throw StepError(StepCode::step_not_allowed, "resume: what is kept of the detection does not fit the algorithm");
  }
  outcomes_ = steps->get_array();
}

bool Detection::done() const {
  return failed_.has_value() || outcomes_.size() == input_.steps.size();
}

void Detection::run_step() {
  Outcome outcome = runner_.run_step(session_, input_.steps[outcomes_.size()]);
  outcomes_.push_back(outcome.to_json());
  if (outcome.result.ok) {
    try {
      runner_.keep(session_, state_key, JsonObject{{"pid", input_.pid}, {"steps", outcomes_}});
      return;
    } catch (const Error& error) {
      outcome.result = Result::error(StepCode::not_serializable, "what the steps answered: " + error.message());
      outcomes_.back() = outcome.to_json();
    }
  }
  failed_ = outcome;
}

JsonObject Detection::outcome() const {
  JsonObject json = failed_ ? failure_outcome(failed_->result) : JsonObject{{"status", "OK"}, {"message", ""}};
  std::int64_t latency = 0;
  std::string_view reason;
  for (const Json& value : outcomes_) {
    const JsonObject& step = value.get_object();
    latency += step.at("latency_us").as_int64();
    const JsonObject& data = step.at("data").as_object();
    const Json* verdict = data.if_contains("result_status");
    if (reason.empty() && verdict != nullptr && *verdict == Json("NG")) reason = data.at("ng_reason").as_string();
  }
  if (failed_) {
    json["step_index"] = failed_->step_index;
  } else {
    json["result_status"] = reason.empty() ? "OK" : "NG";
    if (!reason.empty()) json["ng_reason"] = reason;
  }
  json["steps"] = outcomes_;
  json["latency_us"] = latency;
  return json;
}

JsonObject detect(StepRunner& runner, session::Session& session, DetectionInput input) {
  try {
    Detection detection(runner, session, std::move(input));
    while (!detection.done()) detection.run_step();
    return detection.outcome();
  } catch (const StepError& error) {
    JsonObject json = failure_outcome(Result::error(error));
    json["steps"] = JsonArray();
    json["latency_us"] = 0;
    return json;
  }
}

}  // namespace sojourn::steps
