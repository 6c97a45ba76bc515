#include "sojourn/base/signature.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "sojourn/base/error.hpp"

namespace sojourn {

namespace {

const unsigned char* as_bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

Hash hmac_sha256(std::string_view key, std::string_view message) {
  Hash hash;
  unsigned size = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), as_bytes(message), message.size(), hash.data(),
           &size) == nullptr) {
    throw Error(ErrorCode::internal_error, "HMAC-SHA256 failed");
  }
  return hash;
}

std::string to_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), as_bytes(bytes), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty()) return "";
  // OpenSSL takes padding for zeros, and spaces around for nothing.
  const std::string_view digits = text.substr(0, text.find('='));
  const std::string_view padding = text.substr(digits.size());
  const bool is_digit =
      std::ranges::all_of(digits, [](unsigned char c) { return std::isalnum(c) || c == '+' || c == '/'; });
  if (text.size() % 4 != 0 || !is_digit || padding.find_first_not_of('=') != std::string_view::npos ||
      padding.size() > 2) {
    return std::nullopt;
  }
  std::string bytes(text.size() / 4 * 3, '\0');
  if (EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), as_bytes(text), static_cast<int>(text.size())) <
      0) {
    return std::nullopt;
  }
  bytes.resize(bytes.size() - padding.size());
  return bytes;
}

}  // namespace sojourn
