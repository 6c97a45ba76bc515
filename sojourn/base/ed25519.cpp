#include "sojourn/base/ed25519.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <optional>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/sha256.hpp"

namespace sojourn {

namespace {

constexpr std::size_t signature_bytes = 64;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using AnyKey = std::unique_ptr<EVP_PKEY, FreeKey>;
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;
using Bio = std::unique_ptr<BIO, FreeBio>;

[[noreturn]] void refuse(const char* what) {
  throw Error(ErrorCode::internal_error, std::string("OpenSSL failed to ") + what);
}

template <class T>
T made(T thing, const char* what) {
  if (!thing) refuse(what);
  return thing;
}

// A key that is encrypted is none of ours: nobody is asked for its password.
int no_password(char*, int, int, void*) {
  return 0;
}

Bio bio_of(std::string_view text) {
  return made(Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))), "read a key");
}

template <class Write>
std::string pem_of(Write write) {
  const Bio out = made(Bio(BIO_new(BIO_s_mem())), "write a key");
  if (write(out.get()) != 1) refuse("write a key");
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::array<std::uint8_t, 32> raw_public_key(const EVP_PKEY* key) {
  std::array<std::uint8_t, 32> bytes{};
  std::size_t size = bytes.size();
  if (EVP_PKEY_get_raw_public_key(key, bytes.data(), &size) != 1 || size != bytes.size()) refuse("read a key");
  return bytes;
}

AnyKey checked(EVP_PKEY* key, const char* what) {
  AnyKey owned(key);
  if (!owned || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    throw Error(ErrorCode::invalid_request, std::string("this is no ") + what + " of Ed25519 in PEM");
  }
  return owned;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::optional<std::array<std::uint8_t, signature_bytes>> signature_of(std::string_view hex) {
  std::array<std::uint8_t, signature_bytes> bytes{};
  if (hex.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = digit_of(hex[2 * i]);
    const int low = digit_of(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return bytes;
}

}  // namespace

PublicKey PublicKey::from_pem(std::string_view pem) {
  const AnyKey key = checked(PEM_read_bio_PUBKEY(bio_of(pem).get(), nullptr, no_password, nullptr), "public key");
  return PublicKey(raw_public_key(key.get()));
}

std::string PublicKey::pem() const {
  const AnyKey key = made(
      AnyKey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_.data(), bytes_.size())), "write a key");
  return pem_of([&](BIO* out) { return PEM_write_bio_PUBKEY(out, key.get()); });
}

std::string PublicKey::id() const {
  return to_hex(sha256({reinterpret_cast<const char*>(bytes_.data()), bytes_.size()})).substr(0, 16);
}

bool PublicKey::verifies(std::string_view message, std::string_view signature) const {
  const auto bytes = signature_of(signature);
  if (!bytes) return false;
  const AnyKey key = made(
      AnyKey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_.data(), bytes_.size())), "check a key");
  const Context context = made(Context(EVP_MD_CTX_new()), "check a signature");
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) refuse("check a signature");
  return EVP_DigestVerify(context.get(), bytes->data(), bytes->size(), bytes_of(message), message.size()) == 1;
}

void SigningKey::Free::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

SigningKey::SigningKey(Key key) : key_(std::move(key)), public_key_(raw_public_key(key_.get())) {}

SigningKey SigningKey::generate() {
  return SigningKey(made(Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")), "make a key"));
}

SigningKey SigningKey::from_pem(std::string_view pem) {
  AnyKey key = checked(PEM_read_bio_PrivateKey(bio_of(pem).get(), nullptr, no_password, nullptr), "private key");
  return SigningKey(Key(key.release()));
}

std::string SigningKey::pem() const {
  return pem_of(
      [this](BIO* out) { return PEM_write_bio_PrivateKey(out, key_.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

std::string SigningKey::sign(std::string_view message) const {
  const Context context = made(Context(EVP_MD_CTX_new()), "sign");
  std::array<std::uint8_t, signature_bytes> bytes{};
  std::size_t size = bytes.size();
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), bytes.data(), &size, bytes_of(message), message.size()) != 1) {
    refuse("sign");
  }
  return to_hex(bytes);
}

}  // namespace sojourn
