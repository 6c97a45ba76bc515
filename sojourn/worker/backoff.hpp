#pragma once

#include <algorithm>

#include "sojourn/base/clock.hpp"

namespace sojourn::worker {

// Before the next try after `failures` in a row, at least one: a second, then twice as long each time, up to a
// minute.
inline Seconds backoff(int failures) {
  return std::min(Seconds(1 << std::min(failures - 1, 10)), Seconds(60));
}

}  // namespace sojourn::worker
