#include "sojourn/steps/library.hpp"

#include "examples/steps/gauge.hpp"

// The same algorithm as a shared library, which sojourn-algorithm serves.
SOJOURN_ALGORITHM(example::Gauge);
