#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sojourn/device/board.hpp"

namespace sojourn::device {

struct DeviceInfo {
  std::string identity;  // the board's unique id in hex; "" of one that has none
  std::string firmware;  // "micropython 1.27.0"
  std::string platform;  // "esp32"
  std::string board;     // what the firmware calls it; "" where it does not say
  bool operator==(const DeviceInfo&) const = default;
};

// What a session knows of its device and of the wire to it (seed 002).
// Threads: as Board. Lifetime: the board and the session's capabilities outlive it.
class DeviceContext {
 public:
  DeviceContext(std::string_view session_id, const Board& board, const Capabilities& capabilities)
      : session_id_(session_id), board_(board), capabilities_(capabilities) {}

  std::string_view session_id() const { return session_id_; }

  // As they were found when the session began.
  const Capabilities& capabilities() const { return capabilities_; }
  DeviceInfo info() const;

  ConnectionState connection_state() const { return board_.link().state(); }
  ProtocolCapabilities protocol_capabilities() const { return board_.link().protocol_capabilities(); }

  // What the link has counted since it was made, for this session and those before it, and what was registered here.
  LinkStatistics protocol_metrics() const;

  // Adds what a protocol of the caller's own over the same wire has cost. Its times are not added.
  void register_protocol_metrics(const LinkStatistics& more);

 private:
  std::string_view session_id_;
  const Board& board_;
  const Capabilities& capabilities_;
  std::unique_ptr<LinkStatistics> registered_;  // null while there is nothing, for few sessions have such
};

JsonObject to_json(const DeviceInfo& info);
JsonObject to_json(const ProtocolCapabilities& capabilities);
JsonObject to_json(const LinkStatistics& metrics);

}  // namespace sojourn::device
