#include "sojourn/device/device_context.hpp"

namespace sojourn::device {

DeviceInfo DeviceContext::info() const {
  return {.identity = capabilities_.id,
          .firmware = capabilities_.version.empty() ? capabilities_.implementation
                                                    : capabilities_.implementation + " " + capabilities_.version,
          .platform = capabilities_.platform,
          .board = capabilities_.machine};
}

LinkStatistics DeviceContext::protocol_metrics() const {
  LinkStatistics metrics = board_.link().statistics();
  if (registered_ != nullptr) metrics += *registered_;
  return metrics;
}

void DeviceContext::register_protocol_metrics(const LinkStatistics& more) {
  if (registered_ == nullptr) registered_ = std::make_unique<LinkStatistics>();
  *registered_ += more;
}

JsonObject to_json(const DeviceInfo& info) {
  return {{"identity", to_valid_utf8(info.identity)},
          {"firmware", to_valid_utf8(info.firmware)},
          {"platform", to_valid_utf8(info.platform)},
          {"board", to_valid_utf8(info.board)}};
}

JsonObject to_json(const ProtocolCapabilities& capabilities) {
  JsonObject json{{"burst", capabilities.burst}, {"paste_window", capabilities.paste_window}};
  if (capabilities.raw_paste) json["raw_paste"] = *capabilities.raw_paste;
  if (capabilities.line_ends) json["line_ends"] = *capabilities.line_ends == LineEnds::lf ? "lf" : "cr_lf";
  return json;
}

JsonObject to_json(const LinkStatistics& metrics) {
  return {{"runs", metrics.runs},
          {"timeouts", metrics.timeouts},
          {"reconnections", metrics.reconnections},
          {"restarts", metrics.restarts},
          {"resends", metrics.damaged},
          {"resyncs", metrics.resyncs},
          {"resets", metrics.resets},
          {"bytes_sent", metrics.bytes_sent},
          {"bytes_received", metrics.bytes_received},
          {"run_microseconds", JsonObject{{"shortest", metrics.run_time.shortest().count()},
                                          {"median", metrics.run_time.quantile(0.5).count()},
                                          {"p99", metrics.run_time.quantile(0.99).count()},
                                          {"longest", metrics.run_time.longest().count()}}}};
}

}  // namespace sojourn::device
