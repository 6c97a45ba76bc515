#pragma once

#include <filesystem>
#include <string_view>

#include "sojourn/store/head_signature.hpp"

namespace sojourn::store {

// Makes a folder of sessions' folders that is not in the data folder known as this store's: `owner` in it holds the
// id of the key by which the store's journals were signed at the time. Blocks.
// Shape:   `all` are the keys that the store ever had, with `key`.
// Errors:  config_invalid where it is another store's, which would take these folders for lost ones, and this one
//          those; store_read_only, store_full, io_error.
// Durable: when it returns.
void claim_sessions(const std::filesystem::path& sessions, std::string_view key, const PublicKeys& all);

}  // namespace sojourn::store
