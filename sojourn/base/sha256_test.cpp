#include "sojourn/base/sha256.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn {
namespace {

// FIPS 180-4 examples.
TEST(Sha256, MatchesTheKnownVectors) {
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, TakesItsInputInTwoParts) {
  const std::array<std::uint8_t, 1> a{'a'};
  EXPECT_EQ(sha256(a, "bc"), sha256("abc"));
}

TEST(Sha256, TakesItsInputPieceByPiece) {
  Hasher hasher;
  for (const char* piece : {"a", "", "bc"}) hasher.add(piece);
  EXPECT_EQ(hasher.finish(), sha256("abc"));
  hasher.restart();
  EXPECT_EQ(hasher.finish(), sha256(""));
}

TEST(Sha256, ReadsBackItsHexDigits) {
  const Hash hash = sha256("abc");
  EXPECT_EQ(hash_from_hex(to_hex(hash)), hash);
}

TEST(Sha256, RefusesOtherHexDigits) {
  const std::string hex = to_hex(sha256("abc"));
  std::string upper = hex;
  upper[0] = 'B';
  for (const std::string& text : {std::string(), hex.substr(1), hex + "0", upper, "x" + hex.substr(1)}) {
    EXPECT_THROW(hash_from_hex(text), Error) << text;
  }
}

}  // namespace
}  // namespace sojourn
