#pragma once

#include <memory>
#include <optional>
#include <string>

#include "sojourn/base/clock.hpp"
#include "sojourn/steps/algorithm.hpp"

// Runs the steps of an algorithm in one session: checks what goes in and what comes out, calls the hooks in their
// order, measures each step and records it. It needs no server. One runner serves one session at a time.
namespace sojourn::steps {

// What a caller says of one step.
struct StepInput {
  int step_index = 1;
  std::string pid = {};
  JsonObject user_params = {};
  std::string shared_mem_id = {};
  JsonObject image_meta = {};
};

struct Outcome {
  int step_index;
  Result result;
  Microseconds latency{0};  // of the step so far: its hooks, pre_execute and execute, but not the time between them

  // Result's fields, "step_index" and "latency_us".
  JsonObject to_json() const;
};

struct RunnerOptions {
  // Whether the runner accepts the state's changes after a step that worked, and drops those of one that failed. A
  // server does both by itself.
  bool keeps_state = true;
};

class StepRunner {
 public:
  // Makes the algorithm, checks its get_info and runs its setup.
  // Errors:   StepError: setup_failed, invalid_result, or what setup threw.
  // Lifetime: recorder and clock outlive the runner.
  StepRunner(AlgorithmFactory factory, Recorder& recorder, Clock& clock, RunnerOptions options = {});
  ~StepRunner();  // runs teardown, unless close() did; what that throws is logged

  const Info& info() const { return info_; }

  // One step, or its parts. A step is open from its first part until execute answered, or a part failed;
  // on_step_start comes before the first and on_step_finish after the last. Errors: none: what fails is an outcome
  // that is not ok, with its code kept. What is refused before the algorithm ran
  //         (an unknown product, step or parameter; another step while one is open) calls no hook.
  Outcome pre_execute(session::Session& session, const StepInput& input);
  Outcome execute(session::Session& session, const StepInput& input);
  Outcome run_step(session::Session& session, const StepInput& input);

  // Closes an open step without on_step_finish, calls the algorithm's reset, and clears the state.
  // Errors: StepError; the state is then as it was.
  void reset(session::Session& session);

  // Sets a key of the state for the runner's user, as a step that worked would. Errors: those of State::set.
  void keep(session::Session& session, std::string_view key, const Json& value);

  // Runs teardown, once. Errors: StepError.
  void close();

 private:
  enum class Parts { pre_execute, execute, both };

  struct OpenStep {
    int index;
    Microseconds worked{0};
  };

  void set_up();
  void tear_down();
  Outcome run(session::Session& session, const StepInput& input, Parts parts);
  void begin(session::Session& session, const StepInput& input);
  Result run_parts(session::Session& session, const Shot& shot, Parts parts);
  Result run_phase(session::Session& session, const Shot& shot, Phase phase);
  void finish(session::Session& session, Outcome& outcome);
  void keep_state(session::Session& session, bool worked);
  void record(const Outcome& outcome, const JsonObject& ids);

  AlgorithmFactory factory_;
  Recorder& recorder_;
  Clock& clock_;
  RunnerOptions options_;
  std::shared_ptr<Algorithm> algorithm_;  // null after a fatal error, until the next call
  Info info_;
  std::optional<OpenStep> open_;
};

}  // namespace sojourn::steps
