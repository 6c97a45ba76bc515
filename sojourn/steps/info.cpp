#include "sojourn/steps/info.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

namespace {

[[noreturn]] void refuse(const std::string& field, std::string_view reason) {
  throw StepError(StepCode::invalid_result, fmt::format("get_info: {}: {}", field, reason));
}

std::string text_at(const JsonObject& json, std::string_view key, const std::string& where, bool needed) {
  const Json* value = json.if_contains(key);
  if (value == nullptr && !needed) return {};
  if (value == nullptr || !value->is_string() || (needed && value->get_string().empty())) {
    refuse(where + std::string(key), needed ? "must be text with at least one character" : "must be text");
  }
  return std::string(value->get_string());
}

const JsonArray& list_at(const JsonObject& json, std::string_view key, const std::string& where, bool needed) {
  static const JsonArray none;
  const Json* value = json.if_contains(key);
  if (value == nullptr && !needed) return none;
  if (value == nullptr || !value->is_array()) refuse(where + std::string(key), "must be a list");
  return value->get_array();
}

Step read_step(const Json& value, std::size_t index) {
  const std::string where = fmt::format("steps[{}]", index - 1);
  if (!value.is_object()) refuse(where, "must be an object");
  const JsonObject& json = value.get_object();
  const Json* given = json.if_contains("index");
  if (given == nullptr || !given->is_int64() || given->get_int64() != static_cast<std::int64_t>(index)) {
    refuse(where + ".index", fmt::format("must be {}: steps are counted from 1, in their order", index));
  }
  Step step{.name = text_at(json, "name", where + ".", true)};
  std::set<std::string> keys;
  for (const Json& parameter : list_at(json, "params", where + ".", false)) {
    const std::string place = fmt::format("{}.params[{}]", where, step.params.size());
    if (!parameter.is_object()) refuse(place, "must be an object");
    step.params.push_back(Parameter::from_json(parameter.get_object(), "get_info: " + place));
    if (!keys.insert(step.params.back().key).second) refuse(place + ".key", "is there twice");
  }
  return step;
}

}  // namespace

const Step& Info::step(int index) const {
  if (index < 1 || static_cast<std::size_t>(index) > steps.size()) {
    throw StepError(StepCode::step_not_allowed,
                    fmt::format("step_index is {}; {} has the steps 1 to {}", index, name, steps.size()));
  }
  return steps[static_cast<std::size_t>(index) - 1];
}

void Info::check_pid(const std::string& pid) const {
  if (supported_pids.empty() || std::ranges::find(supported_pids, pid) != supported_pids.end()) return;
  throw StepError(StepCode::invalid_pid, fmt::format("pid: {} does not inspect \"{}\"; it takes {}", name, pid,
                                                     fmt::join(supported_pids, ", ")));
}

JsonObject Info::to_json() const {
  JsonArray all;
  for (const Step& step : steps) {
    JsonArray params;
    for (const Parameter& parameter : step.params) params.push_back(parameter.to_json());
    all.push_back(JsonObject{
        {"index", static_cast<std::int64_t>(all.size()) + 1}, {"name", step.name}, {"params", std::move(params)}});
  }
  return {{"name", name},
          {"version", version},
          {"description", description},
          {"supported_pids", JsonArray(supported_pids.begin(), supported_pids.end())},
          {"steps", std::move(all)},
          {"resumable", resumable}};
}

Info Info::from_json(const JsonObject& json) {
  Info info{.name = text_at(json, "name", "", true),
            .version = text_at(json, "version", "", true),
            .description = text_at(json, "description", "", false),
            .steps = {}};
  for (const Json& pid : list_at(json, "supported_pids", "", false)) {
    if (!pid.is_string()) refuse("supported_pids", "must be a list of texts");
    info.supported_pids.emplace_back(pid.get_string());
  }
  for (const Json& step : list_at(json, "steps", "", true)) {
    info.steps.push_back(read_step(step, info.steps.size() + 1));
  }
  if (info.steps.empty()) refuse("steps", "must have at least one");
  if (const Json* resumable = json.if_contains("resumable")) {
    if (!resumable->is_bool()) refuse("resumable", "must be true or false");
    info.resumable = resumable->get_bool();
  }
  return info;
}

}  // namespace sojourn::steps
