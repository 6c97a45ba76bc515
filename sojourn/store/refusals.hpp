#pragma once

#include <filesystem>
#include <string_view>

#include "sojourn/base/error.hpp"
#include "sojourn/store/store.hpp"

// Why a store refuses a change: the same words from every store.
namespace sojourn::store {

Error session_exists(std::string_view id);                           // already_exists
Error session_unknown(std::string_view id);                          // session_not_found
Error session_fenced(const Commit& commit, std::uint64_t epoch);     // fenced
Error session_changed(const Commit& commit, std::uint64_t version);  // conflict
Error key_taken(const TaskRecord& task);                             // already_exists
Error opening_key_taken(std::string_view id);                        // already_exists
Error task_elsewhere(const TaskRecord& task);                        // already_exists
Error store_closed();                                                // unavailable
Error store_lost(const std::filesystem::path& file);                 // store_read_only
Error cursor_unknown();                                              // invalid_request

// That `events` go on from `before` without a gap, up to `after`. Errors: internal_error.
void check_links(std::string_view session_id, const ChainHead& before, const std::vector<Event>& events,
                 const ChainHead& after);

// Why the system refuses a file or folder of the store: store_read_only, store_full or io_error, by its errno.
// `verb` is what was tried: "open", "write", ...
Error file_refused(std::string_view verb, const std::filesystem::path& file, int error_number);

}  // namespace sojourn::store
