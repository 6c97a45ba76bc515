#pragma once

#include <chrono>
#include <cmath>
#include <string>
#include <thread>

#include "sojourn/steps/algorithm.hpp"

// An algorithm in two steps: the first calibrates a gauge on a known part, the second judges a part by what the first
// left in the session.
namespace example {

namespace steps = sojourn::steps;

class Gauge final : public steps::Algorithm {
 public:
  steps::Info get_info() const override {
    using Type = steps::ParameterType;
    const steps::Parameter reading{
        .key = "reading", .type = Type::real, .required = true, .min = 0, .unit = "counts"};
    return {.name = "gauge",
            .version = "1.0.0",
            .description = "Measures a part against a known one.",
            .supported_pids = {"bolt", "washer"},
            .steps = {{.name = "calibrate",
                       .params = {reading, {.key = "known_mm", .type = Type::real, .fallback = 10.0, .min = 0.1}}},
                      {.name = "measure",
                       .params = {reading,
                                  {.key = "tolerance_mm", .type = Type::real, .fallback = 0.05},
                                  {.key = "settle_ms", .type = Type::integer, .fallback = 0, .max = 60'000}}}},
            .resumable = true};
  }

  steps::Result execute(const steps::Shot& shot, sojourn::session::Session& session) override {
    const double reading = shot.user_params.at("reading").as_double();
    if (shot.step_index == 1) {
      if (reading == 0) throw steps::StepError(steps::StepCode::image_load_failed, "the sensor sees nothing");
      session.set("mm_per_count", shot.user_params.at("known_mm").as_double() / reading);
      session.set("known_mm", shot.user_params.at("known_mm"));
      return steps::Result::good();
    }
    const auto mm_per_count = session.get("mm_per_count");
    if (!mm_per_count) throw steps::StepError(steps::StepCode::step_not_allowed, "calibrate first");
    std::this_thread::sleep_for(std::chrono::milliseconds(shot.user_params.at("settle_ms").as_int64()));
    const double mm = reading * mm_per_count->as_double();
    const double off = std::abs(mm - session.get("known_mm")->as_double());
    diagnostics.publish("off_mm", off);
    logger.info("measured", {{"mm", mm}});
    if (off <= shot.user_params.at("tolerance_mm").as_double()) return steps::Result::good({{"mm", mm}});
    return steps::Result::not_good("out of tolerance", {}, {{"mm", mm}});
  }
};

}  // namespace example
