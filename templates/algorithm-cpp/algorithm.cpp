#include "algorithm.hpp"

#include <cmath>

namespace steps = sojourn::steps;

namespace {

double brightness(const steps::SharedImage& image) {
  const steps::ImageMeta& meta = image.meta();
  if (meta.format == steps::PixelFormat::gray16) {
    throw steps::StepError(steps::StepCode::unsupported_color_space, "the picture has 16 bits a pixel; send 8");
  }
  double sum = 0;
  for (std::int64_t y = 0; y < meta.height; ++y) {
    for (const std::byte value : image.row(y)) sum += std::to_integer<int>(value);
  }
  return sum / static_cast<double>(meta.width * meta.height * meta.channels());
}

}  // namespace

steps::Info NewAlgorithm::get_info() const {
  return {.name = "new-algorithm",
          .version = "1.0.0",
          .description = "Is a product as bright as the reference?",
          .steps = {{.name = "calibrate"},
                    {.name = "judge",
                     .params = {{.key = "tolerance",
                                 .type = steps::ParameterType::real,
                                 .fallback = 10.0,
                                 .min = 0,
                                 .max = 255,
                                 .description = "how far a product may be off, in grey values"}}}},
          .resumable = true};
}

steps::Result NewAlgorithm::execute(const steps::Shot& shot, sojourn::session::Session& session) {
  const double found = brightness(shot.image());
  if (shot.step_index == 1) {
    session.set("reference", found);
    return steps::Result::good({{"brightness", found}});
  }
  const auto reference = session.get("reference");
  if (!reference) throw steps::StepError(steps::StepCode::step_not_allowed, "calibrate first");
  const double off = std::abs(found - reference->as_double());
  diagnostics.publish("off", off);
  logger.info("judged", {{"brightness", found}});
  if (off <= shot.user_params.at("tolerance").as_double()) return steps::Result::good({{"brightness", found}});
  return steps::Result::not_good(found < reference->as_double() ? "too dark" : "too bright", {},
                                 {{"brightness", found}});
}
