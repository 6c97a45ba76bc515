#include <iostream>

#include "examples/steps/gauge.hpp"
#include "sojourn/steps/step_runner.hpp"

// An algorithm of static functions, and an instance that was there before its runner.
namespace steps = sojourn::steps;

struct Drift {
  static steps::Info get_info() {
    const steps::Parameter reading{.key = "reading", .type = steps::ParameterType::integer, .required = true};
    return {.name = "drift", .version = "1.0.0", .steps = {{.name = "measure", .params = {reading}}}};
  }
  static steps::Result execute(const steps::Shot& shot, sojourn::session::Session& session) {
    const std::int64_t reading = shot.user_params.at("reading").as_int64();
    const std::int64_t first = session.get("first", reading).as_int64();
    session.set("first", first);
    return steps::Result::good({{"drift", reading - first}});
  }
};

int main() {
  sojourn::SystemClock clock;
  steps::LineRecorder recorder(std::clog);
  const auto show = [](const steps::Outcome& outcome) { std::cout << sojourn::to_text(outcome.result.data) << '\n'; };

  sojourn::session::Session session("shift-7");
  steps::StepRunner drift(steps::make_algorithm<Drift>, recorder, clock);
  show(drift.run_step(session, {.user_params = {{"reading", 500}}}));
  show(drift.run_step(session, {.user_params = {{"reading", 503}}}));

  example::Gauge gauge;  // set up as the program likes
  sojourn::session::Session another("shift-8");
  steps::StepRunner lent(steps::lent(gauge), recorder, clock);
  show(lent.run_step(another, {.pid = "bolt", .user_params = {{"reading", 500.0}}}));
  show(lent.run_step(another, {.step_index = 2, .pid = "bolt", .user_params = {{"reading", 501.0}}}));
  std::cout << sojourn::to_text(gauge.diagnostics.get()) << '\n';
}
