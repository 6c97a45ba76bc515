#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct evp_pkey_st;

// Signatures that everybody can check and only one can make: Ed25519 (RFC 8032). A signature is 128 lower-case hex
// digits, so that one has one spelling.
namespace sojourn {

// Threads: safe.
class PublicKey {
 public:
  explicit PublicKey(const std::array<std::uint8_t, 32>& bytes) : bytes_(bytes) {}

  // Reads "-----BEGIN PUBLIC KEY-----". Errors: invalid_request for anything but an Ed25519 key.
  static PublicKey from_pem(std::string_view pem);
  std::string pem() const;

  // The first 16 hex digits of the SHA-256 of the key's 32 bytes: what tells keys apart.
  std::string id() const;

  // Whether the owner of the key signed `message` so.
  bool verifies(std::string_view message, std::string_view signature) const;

  bool operator==(const PublicKey&) const = default;

 private:
  std::array<std::uint8_t, 32> bytes_;
};

// Threads: safe. Cost: about 50 us a signature.
class SigningKey {
 public:
  static SigningKey generate();

  // Reads "-----BEGIN PRIVATE KEY-----". Errors: invalid_request for anything but an Ed25519 key.
  static SigningKey from_pem(std::string_view pem);
  std::string pem() const;  // a secret

  const PublicKey& public_key() const { return public_key_; }
  std::string sign(std::string_view message) const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, Free>;

  explicit SigningKey(Key key);

  Key key_;
  PublicKey public_key_;
};

}  // namespace sojourn
