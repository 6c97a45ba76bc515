#include "sojourn/steps/algorithm.hpp"

#include <atomic>

#include "sojourn/steps/step_error.hpp"

namespace sojourn::steps {

AlgorithmFactory lent(Algorithm& algorithm) {
  const auto is_lent = std::make_shared<std::atomic<bool>>(false);  // shared by the factory and what it lent
  return [&algorithm, is_lent] {
    if (is_lent->exchange(true)) throw StepError(StepCode::setup_failed, "this instance serves another session");
    return std::shared_ptr<Algorithm>(&algorithm, [is_lent](Algorithm* given_back) {
      given_back->logger.bind(nullptr, {});
      *is_lent = false;
    });
  };
}

}  // namespace sojourn::steps
