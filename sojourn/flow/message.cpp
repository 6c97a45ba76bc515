#include "sojourn/flow/message.hpp"

#include <fmt/format.h>

#include <string_view>

namespace sojourn::flow {

namespace {

constexpr std::size_t most_bytes = 200;  // of one value

std::string shortened(std::string_view text) {
  if (text.size() <= most_bytes) return std::string(text);
  std::size_t end = most_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

struct Words {
  std::string operator()(const RequestCreation& made) const {
    return fmt::format("{} CREATED {}", made.caller_node ? made.caller_node->name : "START", made.node->name);
  }
  std::string operator()(const RequestSuccess& done) const {
    return fmt::format("{} DONE with {}", done.node->name, shortened(*done.output));
  }
  std::string operator()(const RequestFailure& failed) const {
    return fmt::format("{} FAILED: {}", failed.node->name, shortened(failed.failure.message));
  }
  std::string operator()(const RequestCreationFailure& refused) const {
    return fmt::format("{} NOT CREATED: {}", refused.node->name, shortened(refused.failure.message));
  }
  std::string operator()(const FatalFailure& fatal) const { return "FATAL: " + shortened(fatal.message); }
  std::string operator()(const BroadcastEvent& said) const { return "BROADCAST " + shortened(item(said)); }

  static std::string item(const BroadcastEvent& said) {
    try {
      return to_text(said.item);
    } catch (const Error& error) {
      return error.message();
    }
  }
};

}  // namespace

std::string to_string(const Message& message) {
  return std::visit(Words(), message.body);
}

}  // namespace sojourn::flow
