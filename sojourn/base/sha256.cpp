#include "sojourn/base/sha256.hpp"

#include <openssl/evp.h>

#include <memory>

#include "sojourn/base/error.hpp"

namespace sojourn {

namespace {

Error failed() {
  return Error(ErrorCode::internal_error, "SHA-256 failed");
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

// OpenSSL 3 looks an algorithm up by name at each use unless it is fetched once.
struct Hasher::Digest {
  Digest() : algorithm(EVP_MD_fetch(nullptr, "SHA256", nullptr)), context(EVP_MD_CTX_new()) {
    if (algorithm == nullptr || context == nullptr) throw Error(ErrorCode::internal_error, "OpenSSL has no SHA-256");
  }
  ~Digest() {
    EVP_MD_CTX_free(context);
    EVP_MD_free(algorithm);
  }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void begin() {
    if (EVP_DigestInit_ex2(context, algorithm, nullptr) != 1) throw failed();
  }

  EVP_MD* algorithm;
  EVP_MD_CTX* context;
};

Hasher::Hasher() : digest_(std::make_unique<Digest>()) {
  digest_->begin();
}

Hasher::~Hasher() = default;

void Hasher::add(std::string_view piece) {
  if (EVP_DigestUpdate(digest_->context, piece.data(), piece.size()) != 1) throw failed();
}

Hash Hasher::finish() {
  Hash hash;
  if (EVP_DigestFinal_ex(digest_->context, hash.data(), nullptr) != 1) throw failed();
  return hash;
}

void Hasher::restart() {
  digest_->begin();
}

Hash sha256(std::span<const std::uint8_t> first, std::string_view second) {
  thread_local Hasher hasher;
  hasher.restart();
  hasher.add({reinterpret_cast<const char*>(first.data()), first.size()});
  hasher.add(second);
  return hasher.finish();
}

Hash sha256(std::string_view text) {
  return sha256({}, text);
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex(bytes.size() * 2, '0');
  char* next = hex.data();
  for (const std::uint8_t byte : bytes) {
    *next++ = digits[byte >> 4];
    *next++ = digits[byte & 15];
  }
  return hex;
}

Hash hash_from_hex(std::string_view hex) {
  Hash hash;
  if (hex.size() != 2 * hash.size()) throw Error(ErrorCode::invalid_request, "a SHA-256 has 64 hex digits");
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) throw Error(ErrorCode::invalid_request, "a SHA-256 has lower-case hex digits only");
    hash[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return hash;
}

}  // namespace sojourn
