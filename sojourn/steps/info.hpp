#pragma once

#include <string>
#include <vector>

#include "sojourn/steps/parameter.hpp"

// What an algorithm says of itself.
namespace sojourn::steps {

struct Step {
  std::string name;
  std::vector<Parameter> params = {};
};

struct Info {
  std::string name;
  std::string version = "0";
  std::string description = {};
  std::vector<std::string> supported_pids = {};  // none: any product
  std::vector<Step> steps;                       // the first has the index 1
  bool resumable = false;  // a detection that a crash cut off may go on at the step where it was

  // Errors: StepError step_not_allowed for an index that is none.
  const Step& step(int index) const;

  // Errors: StepError invalid_pid.
  void check_pid(const std::string& pid) const;

  JsonObject to_json() const;

  // Errors: StepError invalid_result, which names the field, for what get_info may not answer.
  static Info from_json(const JsonObject& json);
};

}  // namespace sojourn::steps
