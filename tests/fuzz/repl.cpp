// The raw REPL: whatever a board says, and whenever, the machine keeps its bounds and each run ends at most once.

#include "sojourn/device/raw_repl.hpp"

#include <cstddef>
#include <cstdint>

#include "expect.hpp"
#include "sojourn/device/capabilities.hpp"
#include "sojourn/device/python_value.hpp"
#include "sojourn/device/traceback.hpp"

namespace {

using sojourn::device::CodeKind;
using sojourn::device::RawRepl;

struct Conversation {
  void collect() {
    expect(repl.take_to_send().size() <= 8192, "no more is sent at once than code and a question or two");
    while (auto event = repl.take_event()) {
      if (std::holds_alternative<RawRepl::Output>(*event)) {
        expect(running, "output belongs to a run");
      } else if (std::holds_alternative<RawRepl::Finished>(*event) ||
                 std::holds_alternative<RawRepl::Undelivered>(*event) ||
                 std::holds_alternative<RawRepl::Garbled>(*event)) {
        running = false;
      } else if (std::holds_alternative<RawRepl::Rebooted>(*event)) {
        running = false;
        expect(!repl.at_prompt(), "a board that started anew is not at the raw prompt");
      }
    }
  }

  sojourn::Instant now{sojourn::Seconds(1)};
  RawRepl repl;
  bool running = false;
};

void act(Conversation& talk, std::uint8_t action, std::string_view bytes) {
  switch (action % 8) {
    case 0:
      talk.repl.recover(talk.now, action & 8);
      talk.running = false;
      break;
    case 1:
      if (talk.repl.at_prompt()) {
        // The longer one does not go in one burst.
        const std::string digits = action & 16 ? std::string(5000, '0') : "0123456789012345678901234567890123456789";
        const auto kind = action & 8 ? CodeKind::expression : CodeKind::statements;
        talk.repl.run("x = '" + digits + "'", kind, talk.now);
        talk.running = true;
      }
      break;
    case 2:
      talk.repl.interrupt(talk.now);
      break;
    case 3:
      if (talk.repl.at_prompt()) talk.repl.soft_reset(talk.now);
      break;
    case 4:
      if (talk.repl.next_tick()) talk.now = std::max(talk.now, *talk.repl.next_tick());
      talk.repl.tick(talk.now);
      break;
    default:
      talk.repl.receive(bytes, talk.now);
      break;
  }
}

}  // namespace

// Actions of one byte, then one that says how many bytes the board says. All of them together are read as what a
// board says of values, failures and itself, too.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  Conversation talk;
  for (std::string_view rest = all; rest.size() >= 2;) {
    const auto action = static_cast<std::uint8_t>(rest[0]);
    const std::string_view bytes = rest.substr(2, static_cast<std::uint8_t>(rest[1]));
    rest.remove_prefix(2 + (action % 8 > 4 ? bytes.size() : 0));
    act(talk, action, bytes);
    talk.collect();
  }
  const sojourn::device::Value value = sojourn::device::parse_repr(all);
  if (!std::holds_alternative<sojourn::device::Opaque>(value.is)) sojourn::to_text(to_json(value));
  sojourn::to_text(sojourn::device::to_error(sojourn::device::parse_traceback(all)).to_json());
  try {
    sojourn::to_text(to_json(sojourn::device::parse_capabilities(all)));
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::protocol_error, "a refusal is a protocol_error");
  }
  return 0;
}
