#include "sojourn/store/journal_key.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/refusals.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t key_bytes = 16 * limits::kibibyte;

fs::path secret_file(const fs::path& data) {
  return data / "journal-key.pem";
}

fs::path public_file(const fs::path& data) {
  return data / "journal-key.pub.pem";
}

fs::path all_keys(const fs::path& data) {
  return data / "journal-keys";
}

void replace_if_other(const fs::path& file, const std::string& content) {
  if (read_small_file(file, key_bytes) != content) replace_file(file, content);
}

// Makes it known for good.
void keep(const fs::path& data, const PublicKey& key) {
  make_folders(all_keys(data));
  replace_if_other(all_keys(data) / (key.id() + ".pem"), key.pem());
}

// The public half that stands there, if it can be read.
std::optional<PublicKey> readable_public_key(const fs::path& data) {
  try {
    return find_public_key(data);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// That of the secret half, whoever may read it; nothing where there is none.
std::optional<PublicKey> public_half_of_secret(const fs::path& data) {
  try {
    const std::optional<std::string> pem = read_small_file(secret_file(data), key_bytes);
    if (pem) return SigningKey::from_pem(*pem).public_key();
  } catch (const Error&) {
    // It is damaged.
  }
  return std::nullopt;
}

std::string how_to_rotate(const fs::path& data) {
  return fmt::format(
      "make another by `sojourn audit key --rotate --data {}`, which leaves verifiable what the old "
      "one signed",
      data.string());
}

void check_secret(const fs::path& data) {
  const fs::path file = secret_file(data);
  struct stat found{};
  if (::stat(file.c_str(), &found) != 0 || (found.st_mode & 077) == 0) return;
  throw Error(ErrorCode::config_invalid,
              fmt::format("others than its owner may read '{}': chmod 600 it; if they may have read it, {}",
                          file.string(), how_to_rotate(data)));
}

Error no_key(const fs::path& data) {
  return Error(ErrorCode::not_found, fmt::format("there is no key '{}': a server makes it when it first starts",
                                                 secret_file(data).string()));
}

Error key_gone(const fs::path& data) {
  return Error(ErrorCode::config_invalid,
               fmt::format("'{}' is gone, by which journals are signed here: restore it from a backup, or {}",
                           secret_file(data).string(), how_to_rotate(data)));
}

std::optional<SigningKey> find_journal_key(const fs::path& data) {
  const fs::path file = secret_file(data);
  const std::optional<std::string> pem = read_small_file(file, key_bytes);
  if (!pem) return std::nullopt;
  check_secret(data);
  try {
    return SigningKey::from_pem(*pem);
  } catch (const Error& error) {
    throw Error(ErrorCode::store_corrupt, fmt::format("'{}' holds no key: {}; restore it, or {}", file.string(),
                                                      error.message(), how_to_rotate(data)));
  }
}

}  // namespace

bool had_a_journal_key(const fs::path& data) {
  std::error_code error;
  return fs::exists(secret_file(data), error) || fs::exists(public_file(data), error) ||
         (fs::is_directory(all_keys(data), error) && !fs::is_empty(all_keys(data), error));
}

SigningKey open_journal_key(const fs::path& data) {
  std::optional<SigningKey> key = find_journal_key(data);
  if (!key && had_a_journal_key(data)) throw key_gone(data);
  if (!key) {
    key = SigningKey::generate();
    make_secret_file(secret_file(data), key->pem());
  }
  if (const auto before = readable_public_key(data)) keep(data, *before);
  keep(data, key->public_key());
  replace_if_other(public_file(data), key->public_key().pem());
  return std::move(*key);
}

PublicKey rotate_journal_key(const fs::path& data) {
  if (!had_a_journal_key(data)) throw no_key(data);
  if (const auto of_secret = public_half_of_secret(data)) keep(data, *of_secret);
  if (const auto before = readable_public_key(data)) keep(data, *before);
  const SigningKey key = SigningKey::generate();
  // Before it signs anything.
  keep(data, key.public_key());
  const fs::path next = data / "journal-key.next.pem";
  std::error_code error;
  fs::remove(next, error);
  make_secret_file(next, key.pem());
  fs::rename(next, secret_file(data), error);
  if (error) throw file_refused("replace", secret_file(data), error.value());
  sync_folder(data);
  replace_file(public_file(data), key.public_key().pem());
  return key.public_key();
}

SigningKey read_journal_key(const fs::path& data) {
  std::optional<SigningKey> key = find_journal_key(data);
  if (key) return std::move(*key);
  throw had_a_journal_key(data) ? key_gone(data) : no_key(data);
}

PublicKey read_public_key(const fs::path& file) {
  const std::optional<std::string> pem = read_small_file(file, key_bytes);
  if (!pem) throw Error(ErrorCode::not_found, fmt::format("there is no file '{}'", file.string()));
  try {
    return PublicKey::from_pem(*pem);
  } catch (const Error& error) {
    throw Error(ErrorCode::invalid_request, fmt::format("'{}': {}", file.string(), error.message()));
  }
}

std::optional<PublicKey> find_public_key(const fs::path& data) {
  std::error_code error;
  if (!fs::exists(public_file(data), error)) return std::nullopt;
  return read_public_key(public_file(data));
}

PublicKeys find_public_keys(const fs::path& data) {
  PublicKeys keys;
  if (const auto key = find_public_key(data)) keys.emplace(key->id(), *key);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(all_keys(data), error)) {
    if (entry.path().extension() != ".pem") continue;  // what a write that broke off left
    const PublicKey key = read_public_key(entry.path());
    if (key.id() != entry.path().stem()) {
      throw Error(ErrorCode::invalid_request, fmt::format("'{}' holds the key {}", entry.path().string(), key.id()));
    }
    keys.emplace(key.id(), key);
  }
  return keys;
}

JsonObject shown_keys(const PublicKey& key, const PublicKeys& all) {
  JsonArray retired;
  for (const auto& [id, other] : all) {
    if (other != key) retired.push_back(JsonObject{{"key", id}, {"public_key", other.pem()}});
  }
  return {{"algorithm", "Ed25519"}, {"key", key.id()}, {"public_key", key.pem()}, {"retired", std::move(retired)}};
}

}  // namespace sojourn::store
