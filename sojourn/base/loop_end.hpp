#pragma once

#include "sojourn/base/async.hpp"

namespace sojourn {

// Whether the loop behind `executor` is being destroyed. What still waits on it for an Event is destroyed then too,
// and does not resume: a group's tasks, say, together with who waits for them.
bool is_ending(const Executor& executor);

}  // namespace sojourn
