#include <iostream>

#include "examples/steps/gauge.hpp"
#include "sojourn/steps/detection.hpp"

// An algorithm inside a program of your own: no server, no process.
namespace steps = sojourn::steps;

int main() {
  sojourn::SystemClock clock;
  steps::LineRecorder recorder(std::clog);  // log lines and records, one line of JSON each
  sojourn::session::Session session("shift-7", {{"trace_id", "order-4711"}});
  steps::StepRunner runner([] { return std::make_unique<example::Gauge>(); }, recorder, clock);

  const auto step = [&](int index, sojourn::JsonObject params) {
    const steps::Outcome outcome =
        runner.run_step(session, {.step_index = index, .pid = "bolt", .user_params = std::move(params)});
    std::cout << sojourn::to_text(outcome.result.to_json()) << '\n';
  };
  step(1, {{"reading", 500.0}});
  step(2, {{"reading", 501.0}});
  step(2, {{"reading", 520.0}});
  step(2, {{"reading", -1.0}});
  runner.reset(session);
  step(2, {{"reading", 500.0}});
}
