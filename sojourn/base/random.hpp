#pragma once

#include <cstdint>
#include <mutex>
#include <random>
#include <span>
#include <string>

// Chance is handed in, so that a failing random test can be run again from its seed.
namespace sojourn {

class Random {
 public:
  virtual ~Random() = default;

  // Fills `bytes`. Threads: safe.
  virtual void fill(std::span<std::uint8_t> bytes) = 0;

  // `bytes` random bytes as 2 * `bytes` lower-case hex digits.
  std::string hex(std::size_t bytes);
};

// The kernel's generator: fit for keys.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> bytes) override;
};

// The same bytes for the same seed, for tests only.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::uint8_t> bytes) override;

 private:
  std::mutex mutex_;
  std::mt19937_64 engine_;
};

}  // namespace sojourn
