#include "sojourn/store/journal_key.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/store/durable_file.hpp"

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

void check_secret(const fs::path& file) {
  struct stat found{};
  if (::stat(file.c_str(), &found) != 0 || (found.st_mode & 077) == 0) return;
  throw Error(ErrorCode::config_invalid,
              fmt::format("others than its owner may read '{}': chmod 600 it; if they may have read it, move it away "
                          "and restart the server, which makes another",
                          file.string()));
}

std::optional<SigningKey> find_journal_key(const fs::path& data) {
  const fs::path file = secret_file(data);
  const std::optional<std::string> pem = read_small_file(file, key_bytes);
  if (!pem) return std::nullopt;
  check_secret(file);
  try {
    return SigningKey::from_pem(*pem);
  } catch (const Error& error) {
    throw Error(ErrorCode::store_corrupt,
                fmt::format("'{}' holds no key: {}; restore it, or move it away for another", file.string(),
                            error.message()));
  }
}

}  // namespace

SigningKey open_journal_key(const fs::path& data) {
  std::optional<SigningKey> key = find_journal_key(data);
  if (!key) {
    key = SigningKey::generate();
    make_secret_file(secret_file(data), key->pem());
  }
  const std::string pem = key->public_key().pem();
  if (read_small_file(public_file(data), key_bytes) != pem) replace_file(public_file(data), pem);
  return std::move(*key);
}

SigningKey read_journal_key(const fs::path& data) {
  std::optional<SigningKey> key = find_journal_key(data);
  if (key) return std::move(*key);
  throw Error(ErrorCode::not_found, fmt::format("there is no key '{}': a server makes it when it first starts",
                                                secret_file(data).string()));
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

}  // namespace sojourn::store
