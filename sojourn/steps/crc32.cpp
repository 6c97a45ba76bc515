#include "sojourn/steps/crc32.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sojourn::steps {

namespace {

// Slicing by eight (Kounavis and Berry): eight bytes a round, by a table for each.
consteval std::array<std::array<std::uint32_t, 256>, 8> make_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t sum = i;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0xEDB88320u : 0);
    tables[0][i] = sum;
  }
  for (std::size_t n = 1; n < tables.size(); ++n) {
    for (std::size_t i = 0; i < 256; ++i) {
      tables[n][i] = (tables[n - 1][i] >> 8) ^ tables[0][tables[n - 1][i] & 0xFF];
    }
  }
  return tables;
}

constexpr auto tables = make_tables();

std::uint32_t add_by_tables(std::uint32_t sum, std::span<const std::byte> bytes) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, at, 8);  // little-endian, as all machines are that this is built for
    eight ^= sum;
    sum = 0;
    for (std::size_t i = 0; i < 8; ++i) sum ^= tables[7 - i][(eight >> (8 * i)) & 0xFF];
  }
  for (; left > 0; --left, ++at) sum = (sum >> 8) ^ tables[0][(sum ^ static_cast<std::uint32_t>(*at)) & 0xFF];
  return sum;
}

#if defined(__x86_64__)

constexpr std::size_t folded_bytes = 64;  // a round

bool can_fold() {
  static const bool can = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.1") != 0;
  return can;
}

__attribute__((target("pclmul,sse4.1"))) __m128i load(const std::byte* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

__attribute__((target("pclmul,sse4.1"))) __m128i fold(__m128i sum, __m128i powers, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(sum, powers, 0x00);
  const __m128i high = _mm_clmulepi64_si128(sum, powers, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// Folding by multiplication without carry: Gopal and others, "Fast CRC Computation for Generic Polynomials Using
// PCLMULQDQ Instruction" (Intel, 2009), whose constants for this polynomial, bits reflected, these are.
// Shape: at least folded_bytes, a multiple of 16.
__attribute__((target("pclmul,sse4.1"))) std::uint32_t add_by_folding(std::uint32_t sum,
                                                                      std::span<const std::byte> bytes) {
  const __m128i by_512_bits = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by_128_bits = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i by_64_bits = _mm_set_epi64x(0, 0x0163cd6124);
  const __m128i polynomial = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  const __m128i low_words = _mm_setr_epi32(~0, 0, ~0, 0);

  const std::byte* at = bytes.data();
  const std::byte* const end = at + bytes.size();
  __m128i lanes[4] = {load(at), load(at + 16), load(at + 32), load(at + 48)};
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128(static_cast<int>(sum)));
  for (at += folded_bytes; end - at >= static_cast<std::ptrdiff_t>(folded_bytes); at += folded_bytes) {
    for (int lane = 0; lane < 4; ++lane) lanes[lane] = fold(lanes[lane], by_512_bits, load(at + 16 * lane));
  }
  __m128i one = lanes[0];
  for (int lane = 1; lane < 4; ++lane) one = fold(one, by_128_bits, lanes[lane]);
  for (; at < end; at += 16) one = fold(one, by_128_bits, load(at));

  // 128 bits to 64, and those to 32 (Barrett).
  one = _mm_xor_si128(_mm_srli_si128(one, 8), _mm_clmulepi64_si128(one, by_128_bits, 0x10));
  one = _mm_xor_si128(_mm_srli_si128(one, 4), _mm_clmulepi64_si128(_mm_and_si128(one, low_words), by_64_bits, 0x00));
  __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(one, low_words), polynomial, 0x10);
  quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_words), polynomial, 0x00);
  return static_cast<std::uint32_t>(_mm_extract_epi32(_mm_xor_si128(one, quotient), 1));
}

#endif

}  // namespace

std::uint32_t crc32_by_tables(std::span<const std::byte> bytes) {
  return ~add_by_tables(~0u, bytes);
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  if (bytes.size() >= folded_bytes && can_fold()) {
    const std::size_t whole = bytes.size() / 16 * 16;
    return ~add_by_tables(add_by_folding(~0u, bytes.first(whole)), bytes.subspan(whole));
  }
#endif
  return crc32_by_tables(bytes);
}

}  // namespace sojourn::steps
