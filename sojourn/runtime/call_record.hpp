#pragma once

#include <string_view>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/runtime/live_call.hpp"
#include "sojourn/session/kept_session.hpp"

// What is written down of a call: its events and its row.
namespace sojourn::runtime {

session::NewEvent accepted_event(const LiveCall& call);

// `state` is what the call changed.
session::NewEvent completed_event(const LiveCall& call, std::string_view output,
                                  const std::vector<store::StateChange>& state, Microseconds took);

session::NewEvent failed_event(const store::TaskRecord& task, store::TaskStatus status, const Error& error);

// What the store keeps of a call that is over.
store::TaskRecord final_record(const LiveCall& call, const CallEnd& end);

}  // namespace sojourn::runtime
