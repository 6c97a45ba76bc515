#include "sojourn/base/random.hpp"

#include <gtest/gtest.h>

#include <array>

namespace sojourn {
namespace {

TEST(SeededRandom, RepeatsFromItsSeed) {
  SeededRandom first(42);
  SeededRandom second(42);
  SeededRandom other(43);
  const std::string drawn = first.hex(16);
  EXPECT_EQ(drawn, second.hex(16));
  EXPECT_NE(drawn, other.hex(16));
  EXPECT_NE(drawn, first.hex(16));
}

TEST(Random, WritesTwoLowerCaseHexDigitsAByte) {
  SeededRandom random(1);
  const std::string text = random.hex(100);
  EXPECT_EQ(text.size(), 200u);
  EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(random.hex(0), "");
}

TEST(SystemRandom, FillsAllBytesDifferentlyEachTime) {
  SystemRandom random;
  std::array<std::uint8_t, 1000> first{};
  std::array<std::uint8_t, 1000> second{};
  random.fill(first);
  random.fill(second);
  EXPECT_NE(first, second);
  // That the last 32 bytes all stay zero has a chance of 2^-256.
  EXPECT_TRUE(std::ranges::any_of(std::span(first).last(32), [](std::uint8_t byte) { return byte != 0; }));
}

}  // namespace
}  // namespace sojourn
