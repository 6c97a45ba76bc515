#include "sojourn/steps/detection.hpp"

#include <fmt/format.h>

#include <utility>

namespace sojourn::steps {

namespace {

JsonObject failure_outcome(const Result& failed) {
  JsonObject json = failed.to_json();
  json.erase("data");
  return json;
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
  if (begun.at("pid") != Json(input_.pid)) {
    throw StepError(StepCode::step_not_allowed, "resume: the detection that was begun is of another pid");
  }
  outcomes_ = begun.at("steps").as_array();
}

bool Detection::done() const {
  return failed_.has_value() || outcomes_.size() == input_.steps.size();
}

void Detection::run_step() {
  const Outcome outcome = runner_.run_step(session_, input_.steps[outcomes_.size()]);
  outcomes_.push_back(outcome.to_json());
  if (outcome.result.ok) {
    runner_.keep(session_, state_key, JsonObject{{"pid", input_.pid}, {"steps", outcomes_}});
  } else {
    failed_ = outcome;
  }
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
