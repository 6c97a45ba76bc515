#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/store.hpp"

// How sessions are found among a million: a page is read along the index of the narrowest filter, newest first, and
// looks at a bounded number of sessions.
// Errors: those of a Statement.
namespace sojourn::store {

// Errors: invalid_request for a cursor that no page gave.
SessionPage read_page(Connection& connection, const SessionQuery& query, std::string_view cursor, std::size_t limit);

std::uint64_t read_count(Connection& connection, const SessionQuery& query);

std::optional<std::string> read_cursor_after(Connection& connection, const SessionQuery& query, std::uint64_t count);

// As Store::purgeable(); places are rows.
Purgeable read_purgeable(Connection& connection, const SessionQuery& query, std::size_t limit, std::uint64_t after);

// The steps of sessions, as Store's functions of these names.
std::vector<StepRecord> read_steps(Connection& connection, std::string_view session_id, std::uint64_t from_number,
                                   std::size_t limit);
std::vector<StepRecord> read_latest_attempts(Connection& connection, std::string_view session_id,
                                             const std::vector<std::string>& names);
// All of a session, by number, for as long as `take` goes on.
void read_steps(Connection& connection, std::int64_t session, const std::function<bool(StepRecord)>& take);
StepSummary read_step_summary(Connection& connection, std::string_view session_id);

}  // namespace sojourn::store
