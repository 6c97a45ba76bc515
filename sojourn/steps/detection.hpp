#pragma once

#include <string>
#include <vector>

#include "sojourn/steps/step_runner.hpp"

// One detection: all steps of an algorithm for one product, in their order, in one session.
//
// What each step answered is kept in the session's state, so that a detection that a crash cut off goes on behind the
// last step that was made durable, where the algorithm says that it is resumable.
namespace sojourn::steps {

struct DetectionInput {
  std::string pid = {};
  std::vector<StepInput> steps = {};  // by their place; a step that is not there gets no parameters and no image
  bool resume = false;                // go on with the detection that was cut off
};

class Detection {
 public:
  // Where the detection's answers are in the session's state.
  static constexpr std::string_view state_key = "sojourn.detection";

  // Begins: resets the session, unless `resume`.
  // Errors: StepError: step_not_allowed for more steps than there are, and for nothing to resume; those of
  //         StepRunner::reset.
  // Lifetime: runner and session outlive it.
  Detection(StepRunner& runner, session::Session& session, DetectionInput input);

  bool done() const;

  // Runs the next step. What it did to the state is in place when it returns, and may be made durable.
  void run_step();

  // {"status", "message", "result_status", "ng_reason", "steps": [outcomes], "latency_us"}; "error_code" and
  // "step_index" where a step failed, which ends the detection. NG as soon as one step says so.
  JsonObject outcome() const;

  // The failure that ended it, if any.
  const Outcome* failure() const { return failed_ ? &*failed_ : nullptr; }

 private:
  void resume();

  StepRunner& runner_;
  session::Session& session_;
  DetectionInput input_;
  JsonArray outcomes_;
  std::optional<Outcome> failed_;
};

// The whole of it, without a server. Errors: none; what fails is in the outcome.
JsonObject detect(StepRunner& runner, session::Session& session, DetectionInput input);

}  // namespace sojourn::steps
