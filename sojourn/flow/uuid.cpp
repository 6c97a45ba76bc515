#include "sojourn/flow/uuid.hpp"

#include <cstring>

namespace sojourn::flow {

namespace {

// SplitMix64's finisher: one to one, and each bit of the input moves about half of the output's.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

Uuid Uuid::draw(Random& random) {
  std::array<std::uint8_t, 16> bytes{};
  random.fill(bytes);
  std::uint64_t high = 0, low = 0;
  std::memcpy(&high, bytes.data(), 8);
  std::memcpy(&low, bytes.data() + 8, 8);
  return {high, low};
}

void Uuid::append_to(std::string& out, Kind kind, std::uint64_t number) const {
  const std::uint64_t low = mixed(low_ ^ mixed((number << 3) | static_cast<std::uint64_t>(kind)));
  Uuid(mixed(high_ ^ low), low).append_to(out);
}

std::string Uuid::of(Kind kind, std::uint64_t number) const {
  std::string text;
  append_to(text, kind, number);
  return text;
}

void Uuid::append_to(std::string& out) const {
  const std::uint64_t high = (high_ & 0xffffffffffff0fff) | 0x4000;            // version 4
  const std::uint64_t low = (low_ & 0x3fffffffffffffff) | 0x8000000000000000;  // its variant
  std::array<char, 36> text;
  std::size_t place = 0;
  for (int digit = 0; digit < 32; ++digit) {
    if (digit == 8 || digit == 12 || digit == 16 || digit == 20) text[place++] = '-';
    const std::uint64_t half = digit < 16 ? high : low;
    text[place++] = "0123456789abcdef"[(half >> (60 - 4 * (digit % 16))) & 15];
  }
  out.append(text.data(), text.size());
}

std::string Uuid::text() const {
  std::string text;
  append_to(text);
  return text;
}

}  // namespace sojourn::flow
