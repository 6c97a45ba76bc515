#include "sojourn/device/capabilities.hpp"

#include <charconv>
#include <ranges>

#include "sojourn/base/error.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/device/python_value.hpp"

namespace sojourn::device {

namespace {

// One line each: a letter and what was found. A module is imported only to see that it is there; the name is taken
// back, and so is the memory.
constexpr std::string_view probe =
    "def _p():\n"
    " import sys,gc\n"
    " i=sys.implementation\n"
    " print('i',i[0]);print('v',*i[1]);print('p',sys.platform)\n"
    " for m in 'machine _thread network bluetooth json hashlib binascii deflate random asyncio socket ssl os time "
    "math "
    "array struct microbit'.split():\n"
    "  try:__import__(m);print('m',m)\n"
    "  except:0\n"
    " try:\n"
    "  import os;print('n',os.uname()[4])\n"
    " except:print('n',getattr(i,'_machine',''))\n"
    " try:\n"
    "  import machine;print('d',machine.unique_id())\n"
    " except:0\n"
    " gc.collect();print('f',gc.mem_free());print('u',gc.mem_alloc())\n"
    "_p()\n"
    "del _p\n";

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// A bytes literal came.
std::string hex_of(std::string_view literal) {
  const Value id = parse_repr(literal);
  const auto* bytes = std::get_if<Bytes>(&id.is);
  if (bytes == nullptr) return {};
  return to_hex({reinterpret_cast<const std::uint8_t*>(bytes->data.data()), bytes->data.size()});
}

// (1, 27, 0, '') came as "1 27 0 ".
std::string version_of(std::string_view parts) {
  std::string version;
  for (const auto part : std::views::split(parts, ' ')) {
    if (part.empty()) continue;
    version += version.empty() ? "" : ".";
    version += std::string_view(part.begin(), part.end());
  }
  return version;
}

}  // namespace

std::string_view capability_probe() {
  return probe;
}

Capabilities parse_capabilities(std::string_view printed) {
  Capabilities capabilities;
  for (const auto part : std::views::split(printed, '\n')) {
    const std::string_view line(part.begin(), part.end());
    if (line.size() < 2 || line[1] != ' ') continue;
    const std::string_view found = line.substr(2);
    switch (line[0]) {
      case 'i':
        capabilities.implementation = found;
        break;
      case 'v':
        capabilities.version = version_of(found);
        break;
      case 'p':
        capabilities.platform = found;
        break;
      case 'n':
        capabilities.machine = found;
        break;
      case 'd':
        capabilities.id = hex_of(found);
        break;
      case 'f':
        capabilities.heap_free = number(found);
        break;
      case 'u':
        capabilities.heap_used = number(found);
        break;
      case 'm':
        capabilities.modules.emplace_back(found);
        break;
      default:
        break;
    }
  }
  std::ranges::sort(capabilities.modules);
  capabilities.modules.erase(std::ranges::unique(capabilities.modules).begin(), capabilities.modules.end());
  capabilities.modules.shrink_to_fit();
  if (capabilities.implementation.empty()) {
    throw Error(ErrorCode::protocol_error, "the board did not say what it is");
  }
  return capabilities;
}

Capabilities fallback_capabilities() {
  return {.implementation = "micropython"};
}

JsonObject to_json(const Capabilities& capabilities) {
  JsonArray modules;
  for (const std::string& module : capabilities.modules) modules.push_back(to_valid_utf8(module).c_str());
  JsonObject json{{"implementation", to_valid_utf8(capabilities.implementation)},
                  {"version", to_valid_utf8(capabilities.version)},
                  {"platform", to_valid_utf8(capabilities.platform)},
                  {"machine", to_valid_utf8(capabilities.machine)},
                  {"id", capabilities.id},
                  {"heap_free", capabilities.heap_free},
                  {"heap_used", capabilities.heap_used},
                  {"modules", std::move(modules)}};
  if (capabilities.raw_paste) json["raw_paste"] = *capabilities.raw_paste;
  return json;
}

}  // namespace sojourn::device
