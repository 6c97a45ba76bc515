#include "sojourn/http/public_address.hpp"

#include <algorithm>
#include <cstdint>

namespace sojourn::http {

namespace {

namespace ip = boost::asio::ip;

struct Block {
  std::uint32_t first;
  unsigned bits;
};

constexpr std::uint32_t quad(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return a << 24 | b << 16 | c << 8;
}

constexpr Block not_public[] = {
    {quad(0, 0, 0), 8},      {quad(10, 0, 0), 8},     {quad(100, 64, 0), 10}, {quad(127, 0, 0), 8},
    {quad(169, 254, 0), 16}, {quad(172, 16, 0), 12},  {quad(192, 0, 0), 24},  {quad(192, 0, 2), 24},
    {quad(192, 88, 99), 24}, {quad(192, 168, 0), 16}, {quad(198, 18, 0), 15}, {quad(198, 51, 100), 24},
    {quad(203, 0, 113), 24}, {quad(224, 0, 0), 4},    {quad(240, 0, 0), 4},
};

bool is_public(const ip::address_v4& address) {
  const std::uint32_t number = address.to_uint();
  return std::ranges::none_of(
      not_public, [number](const Block& block) { return (number ^ block.first) >> (32 - block.bits) == 0; });
}

// Only 2000::/3 is given out; within it these stand for something else.
bool is_public(const ip::address_v6& address) {
  if (address.is_v4_mapped()) return is_public(ip::make_address_v4(ip::v4_mapped, address));
  const ip::address_v6::bytes_type bytes = address.to_bytes();
  const auto word = [&bytes](std::size_t at) { return static_cast<unsigned>(bytes[at] << 8 | bytes[at + 1]); };
  if (bytes[0] >> 5 != 1) return false;
  const bool is_protocol_block = word(0) == 0x2001 && word(2) < 0x0200;  // Teredo and others
  const bool is_for_documents = (word(0) == 0x2001 && word(2) == 0x0db8) || (word(0) == 0x3fff && word(2) < 0x1000);
  const bool is_6to4 = word(0) == 0x2002;  // leads to an IPv4 address
  return !is_protocol_block && !is_for_documents && !is_6to4;
}

}  // namespace

bool is_public(const ip::address& address) {
  return address.is_v4() ? is_public(address.to_v4()) : is_public(address.to_v6());
}

}  // namespace sojourn::http
