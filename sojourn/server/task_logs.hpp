#pragma once

#include <string>

#include "sojourn/base/async.hpp"
#include "sojourn/store/store.hpp"

// What a call said, as its session's journal has it.
namespace sojourn::server {

// The lines of a call from the event `from` on, at most `limit`, as a JSON array (docs/formats/http.md#log-line).
// Cost: reads the journal up to the call's end.
Async<std::string> task_logs(store::Store& store, std::string session_id, std::string task_id, std::uint64_t from,
                             std::size_t limit);

}  // namespace sojourn::server
