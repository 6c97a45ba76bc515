#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sojourn/base/json.hpp"

// What a board can do, found out by one script that needs neither modules nor much heap.
namespace sojourn::device {

struct Capabilities {
  std::string implementation;  // "micropython", "circuitpython"
  std::string version;         // of the firmware: "1.27.0"
  std::string platform;        // "microbit", "esp32", "webassembly"
  std::string machine;         // what the firmware calls the board; "" where it does not say
  std::string id;              // its unique id in hex; "" where it has none
  std::uint64_t heap_free = 0;
  std::uint64_t heap_used = 0;
  std::vector<std::string> modules;  // in order, those of the probe's list that are part of the firmware
  std::optional<bool> raw_paste;     // nothing until the link had to know

  bool has(std::string_view module) const { return std::ranges::binary_search(modules, module); }
  bool operator==(const Capabilities&) const = default;
};

// Prints a line for each thing that it found out, so that what a board lacks costs only that line.
std::string_view capability_probe();

// Likewise, but of few modules: which device it is, with which firmware, and the room that it has.
std::string_view identity_probe();

// Whether both are of one device with one firmware, so that it has the same modules. Those without a unique id are
// told apart by firmware alone: compare what was found at one address.
bool is_same_device(const Capabilities& one, const Capabilities& other);

// Reads what the probe printed; lines that it does not know are left out. Errors: protocol_error where the
// implementation is missing.
Capabilities parse_capabilities(std::string_view printed);

// What is known of a board that cannot be asked: MicroPython, and nothing more.
Capabilities fallback_capabilities();

JsonObject to_json(const Capabilities& capabilities);

}  // namespace sojourn::device
