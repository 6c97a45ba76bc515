#pragma once

#include <filesystem>
#include <optional>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/head_signature.hpp"

// The key by which a server signs how journals end, in its data folder: journal-key.pem, which only the server's user
// may read, and journal-key.pub.pem, for everybody. Whoever has the first can sign anything in the server's name.
//
// journal-keys/ID.pem is the public half of every key that there ever was, so that what an earlier one signed can
// still be verified.
namespace sojourn::store {

// Whether there ever was a key in the data folder: any half of one is there, or a retired one.
bool had_a_journal_key(const std::filesystem::path& data);

// The data folder's key, made where there never was one. Only who holds the folder's lock may call it.
// Errors: config_invalid where there was one and it is gone, and for a file that others than its owner may read;
//         store_corrupt for a file that holds no key; store_read_only, store_full, io_error.
// Durable: all files, when it returns.
SigningKey open_journal_key(const std::filesystem::path& data);

// Makes another key, which signs from now on. Only who holds the folder's lock may call it.
// Errors: not_found where there never was one; store_read_only, store_full, io_error.
// Durable: when it returns. What breaks off in the middle leaves the old key, or the new one.
PublicKey rotate_journal_key(const std::filesystem::path& data);

// For who may read it. Errors: not_found where no server has made one yet; else as open_journal_key().
SigningKey read_journal_key(const std::filesystem::path& data);

// A public key in a file. Errors: not_found, io_error; invalid_request for what is none.
PublicKey read_public_key(const std::filesystem::path& file);

// The data folder's, or nothing where no server has made one yet. Errors: as read_public_key().
std::optional<PublicKey> find_public_key(const std::filesystem::path& data);

// All that the data folder ever had. Errors: as read_public_key(); invalid_request for a file that is not named by
// its key's id.
PublicKeys find_public_keys(const std::filesystem::path& data);

// {"algorithm", "key", "public_key", "retired"}: how the public halves are shown, `all` without `key` being retired.
JsonObject shown_keys(const PublicKey& key, const PublicKeys& all);

}  // namespace sojourn::store
