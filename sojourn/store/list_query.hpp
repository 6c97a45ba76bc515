#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "sojourn/store/store.hpp"

// What all stores have in common when they list sessions: their order, its cursors, and what fits a query.
namespace sojourn::store {

// A session's place among all: by when it was created, and then by its row, which is never given twice.
struct ListPlace {
  Time created_at = Time::max();
  std::int64_t row = std::numeric_limits<std::int64_t>::max();
};

// Past the newest for "". Errors: invalid_request for what cursor_text() did not make.
ListPlace read_cursor(std::string_view cursor);

std::string cursor_text(const ListPlace& place);

// Errors: invalid_json for a record whose labels are no JSON object, where the query asks for some.
bool fits_query(const SessionRecord& record, const SessionQuery& query);

}  // namespace sojourn::store
