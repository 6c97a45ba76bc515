#pragma once

#include <string>
#include <string_view>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/random.hpp"

namespace sojourn {

// "sess_20260115_103045_a1b2c3": UTC and six random hex digits. Not unique by itself: the store refuses a duplicate.
std::string new_session_id(Time now, Random& random);

// Whether `id` has that shape. Anything that reaches a path or a store as a session id passes here first.
bool is_session_id(std::string_view id);

// "task_" and 26 hex digits, of which the first twelve are the time in ms: new ids sort last, so an index grows at
// its end.
std::string new_task_id(Time now, Random& random);

bool is_task_id(std::string_view id);

}  // namespace sojourn
