#include "sojourn/base/ed25519.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn {
namespace {

// RFC 8032, 7.1, test 2: the key's PKCS #8 is its seed after a fixed head.
constexpr std::string_view rfc_private_key =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n"
    "-----END PRIVATE KEY-----\n";

TEST(Ed25519, ChecksWhatItsKeySigned) {
  const SigningKey key = SigningKey::generate();
  const std::string signature = key.sign("head");
  EXPECT_EQ(signature.size(), 128u);
  EXPECT_TRUE(key.public_key().verifies("head", signature));
  EXPECT_FALSE(key.public_key().verifies("heaD", signature));
  EXPECT_FALSE(SigningKey::generate().public_key().verifies("head", signature));
}

TEST(Ed25519, KeepsItsKeysAsPem) {
  const SigningKey key = SigningKey::generate();
  const SigningKey again = SigningKey::from_pem(key.pem());
  EXPECT_EQ(again.public_key(), key.public_key());
  EXPECT_EQ(again.sign("head"), key.sign("head"));
  EXPECT_EQ(PublicKey::from_pem(key.public_key().pem()), key.public_key());
  EXPECT_EQ(key.public_key().id().size(), 16u);
}

TEST(Ed25519, SignsAsTheStandardSays) {
  EXPECT_EQ(SigningKey::from_pem(rfc_private_key).sign("r"),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(Ed25519, RefusesEachOtherSpellingOfASignature) {
  const SigningKey key = SigningKey::generate();
  const std::string signature = key.sign("head");
  for (std::size_t place = 0; place < signature.size(); ++place) {
    for (const char other : {'0', 'A', 'f', ' ', '\0'}) {
      if (signature[place] == other) continue;
      std::string changed = signature;
      changed[place] = other;
      EXPECT_FALSE(key.public_key().verifies("head", changed)) << changed;
    }
  }
  EXPECT_FALSE(key.public_key().verifies("head", ""));
  EXPECT_FALSE(key.public_key().verifies("head", signature + "0"));
}

TEST(Ed25519, RefusesWhatIsNoKey) {
  for (const std::string_view pem : {std::string_view(), std::string_view("-----BEGIN PUBLIC KEY-----\nAAAA\n"),
                                     std::string_view("key"), rfc_private_key.substr(0, 60)}) {
    EXPECT_THROW(PublicKey::from_pem(pem), Error);
    EXPECT_THROW(SigningKey::from_pem(pem), Error);
  }
  EXPECT_THROW(PublicKey::from_pem(rfc_private_key), Error);
}

}  // namespace
}  // namespace sojourn
