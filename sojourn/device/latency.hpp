#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "sojourn/base/clock.hpp"

namespace sojourn::device {

// How often something took how long, in steps of a factor of two. Cost: some nanoseconds each.
class Latency {
 public:
  static constexpr std::size_t steps = 32;  // the last: from half an hour on

  void add(Microseconds took) {
    const auto time = static_cast<std::uint64_t>(took.count() < 0 ? 0 : took.count());
    ++counts_[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(time)), steps - 1)];
    sum_ += took;
    shortest_ = count_ == 0 ? took : std::min(shortest_, took);
    longest_ = std::max(longest_, took);
    ++count_;
  }

  std::uint64_t count() const { return count_; }
  Microseconds sum() const { return sum_; }
  Microseconds shortest() const { return shortest_; }
  Microseconds longest() const { return longest_; }

  // How many took less than 2^step us, and not less than half of that.
  std::uint64_t in_step(std::size_t step) const { return counts_.at(step); }

  // What `share` of them did not exceed: at most twice too much. 0 of nothing.
  Microseconds quantile(double share) const {
    std::uint64_t left = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    for (std::size_t step = 0; step + 1 < steps; ++step) {
      if (counts_[step] > left) return std::min(longest_, Microseconds(std::int64_t{1} << step));
      left -= counts_[step];
    }
    return longest_;
  }

 private:
  std::array<std::uint32_t, steps> counts_{};
  std::uint64_t count_ = 0;
  Microseconds sum_{0};
  Microseconds shortest_{0};
  Microseconds longest_{0};
};

}  // namespace sojourn::device
