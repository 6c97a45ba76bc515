#include "sojourn/steps/crc32.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace sojourn::steps {

namespace {

TEST(Crc32, IsThatOfZlib) {
  const std::string text = "123456789";
  EXPECT_EQ(crc32(std::as_bytes(std::span(text))), 0xCBF43926u);
  EXPECT_EQ(crc32({}), 0u);
  const std::vector<std::byte> zeros(1'000'000);  // python3: zlib.crc32(bytes(1000000))
  EXPECT_EQ(crc32(zeros), 0x1279CB9Eu);
}

TEST(Crc32, IsTheSameOnEveryProcessor) {
  std::mt19937 random(7);
  std::vector<std::byte> bytes(4096);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  const std::span<const std::byte> all = bytes;
  for (std::size_t size = 0; size < 400; ++size) {
    EXPECT_EQ(crc32(all.subspan(size % 17, size)), crc32_by_tables(all.subspan(size % 17, size))) << size;
  }
  for (int round = 0; round < 100; ++round) {
    const std::size_t start = random() % bytes.size();
    const auto part = all.subspan(start, random() % (bytes.size() - start + 1));
    EXPECT_EQ(crc32(part), crc32_by_tables(part)) << start << " " << part.size();
  }
}

TEST(Crc32, ChangesWithEachBit) {
  std::vector<std::byte> bytes(160, std::byte{7});
  const std::uint32_t before = crc32(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_NE(crc32(bytes), before) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

}  // namespace

}  // namespace sojourn::steps
