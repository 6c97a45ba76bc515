#include <stdexcept>

#include "sojourn/steps/library.hpp"

// An algorithm in a shared library that cannot be made.
class Refusing final : public sojourn::steps::Algorithm {
 public:
  Refusing() { throw std::runtime_error("no camera is plugged in"); }
  sojourn::steps::Info get_info() const override { return {.name = "refusing", .steps = {{.name = "none"}}}; }
  sojourn::steps::Result execute(const sojourn::steps::Shot&, sojourn::session::Session&) override {
    return sojourn::steps::Result::good();
  }
};

SOJOURN_ALGORITHM(Refusing);
