#pragma once

#include <memory>
#include <string>

#include "sojourn/runtime/live_call.hpp"

// A call that is to run at a later time, as it is written down and as it comes back.
namespace sojourn::runtime {

// What its task does not say of it, for TaskRecord::plan: who called, for how long, with which files, in whose
// session.
store::JsonText plan_text(const LiveCall& call);

// The call that was written down so. Its input is read when it is to run.
std::shared_ptr<LiveCall> planned_call(store::TaskRecord task, std::string app);

}  // namespace sojourn::runtime
