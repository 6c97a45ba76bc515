#pragma once

#include <filesystem>
#include <optional>

#include "sojourn/base/ed25519.hpp"

// The key by which a server signs how journals end, in its data folder: journal-key.pem, which only the server's user
// may read, and journal-key.pub.pem, for everybody. Whoever has the first can sign anything in the server's name.
namespace sojourn::store {

// The data folder's key, made where there is none. Only who owns the folder (SqliteStore holds its lock) may call it.
// Errors: store_corrupt for a file that holds no key; config_invalid for one that others than its owner may read;
//         store_read_only, store_full, io_error.
// Durable: both files, when it returns.
SigningKey open_journal_key(const std::filesystem::path& data);

// For who may read it. Errors: not_found where no server has made one yet; else as above.
SigningKey read_journal_key(const std::filesystem::path& data);

// A public key in a file. Errors: not_found, io_error; invalid_request for what is none.
PublicKey read_public_key(const std::filesystem::path& file);

// The data folder's, or nothing where no server has made one yet. Errors: as read_public_key().
std::optional<PublicKey> find_public_key(const std::filesystem::path& data);

}  // namespace sojourn::store
