#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "sojourn/device/latency.hpp"

namespace sojourn::device {

// What a DeviceSessionManager counts of its sessions while it lives (seed 002).
struct SessionMetrics {
  static constexpr std::size_t most_types = 32;

  std::uint64_t sessions_created = 0;
  Latency creation_duration;  // of those, from create() to the session, the probe included
  std::map<std::string, std::uint64_t, std::less<>> resources_registered;  // by type; past most_types as "other"

  void count_resource(std::string_view type) {
    auto found = resources_registered.find(type);
    if (found == resources_registered.end()) {
      const std::string_view name = resources_registered.size() < most_types ? type : "other";
      found = resources_registered.try_emplace(std::string(name)).first;
    }
    ++found->second;
  }
};

}  // namespace sojourn::device
