#pragma once

#include "sojourn/steps/detection.hpp"

// What callers send to an algorithm's functions, as JSON.
namespace sojourn::steps {

// {"step_index": 1, "pid", "user_params", "shared_mem_id", "image_meta"}; all but the index may be left out.
// Errors: sojourn::Error invalid_request, which names the field; also for a field that is not known.
StepInput step_input(const Json& input);

// {"pid", "steps": [{"user_params", "shared_mem_id", "image_meta"}, ...], "resume"}. Errors: as above.
DetectionInput detection_input(const Json& input);

}  // namespace sojourn::steps
