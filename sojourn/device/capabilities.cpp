#include "sojourn/device/capabilities.hpp"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <ranges>
#include <tuple>

#include "sojourn/base/error.hpp"
#include "sojourn/base/sha256.hpp"
#include "sojourn/device/python_value.hpp"

namespace sojourn::device {

namespace {

// One line each: a letter and what was found. It says nothing of modules that every board has, for each name takes a
// small board some time. Its names are its own, so that nothing but loaded modules is left. What lies in
// the board's files is neither looked for, which takes long, nor run.
constexpr std::string_view all_modules =
    "machine _thread network bluetooth json hashlib binascii deflate asyncio socket ssl os microbit";
constexpr std::string_view telling_modules = "machine os";  // of which device it is
constexpr std::string_view probe_start =
    "def _p():\n"
    " import sys,gc\n"
    " d={}\n"
    " q=getattr(sys,'path',[])\n"
    " p=q[:]\n"
    " q[:]=['.frozen']\n"
    " for m in'";
constexpr std::string_view probe_end =
    "'.split():\n"
    "  try:d[m]=__import__(m)\n"
    "  except:0\n"
    " q[:]=p\n"
    " gc.collect()\n"
    " print('p',sys.platform,gc.mem_free(),gc.mem_alloc(),*d)\n"
    " print('i',*sys.implementation,sep=';')\n"
    " try:print('d',d['machine'].unique_id())\n"
    " except:0\n"
    " try:print('n',d['os'].uname()[4])\n"
    " except:0\n"
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

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (const auto part : std::views::split(text, separator)) parts.emplace_back(part.begin(), part.end());
  return parts;
}

// "(1, 27, 0, '')"
std::string version_of(std::string_view tuple) {
  std::string version;
  for (const char c : tuple) {
    if (c == ',') version += '.';
    if (std::string_view("() ,'").find(c) == std::string_view::npos) version += c;
  }
  while (version.ends_with('.')) version.pop_back();
  return version;
}

// "micropython;(1, 27, 0, '');JS with Emscripten;774;pyscript", less on older firmware.
void read_implementation(Capabilities& capabilities, std::string_view found) {
  std::vector<std::string> fields = split(found, ';');
  fields.resize(std::max<std::size_t>(fields.size(), 3));
  capabilities.implementation = std::move(fields[0]);
  capabilities.version = version_of(fields[1]);
  if (capabilities.machine.empty()) capabilities.machine = std::move(fields[2]);
}

// "microbit 8432 1616 machine os"
void read_platform(Capabilities& capabilities, std::string_view found) {
  std::vector<std::string> fields = split(found, ' ');
  if (fields.size() < 3) return;
  capabilities.platform = std::move(fields[0]);
  capabilities.heap_free = number(fields[1]);
  capabilities.heap_used = number(fields[2]);
  capabilities.modules.assign(std::move_iterator(fields.begin() + 3), std::move_iterator(fields.end()));
}

}  // namespace

std::string_view capability_probe() {
  static const std::string probe = fmt::format("{}{}{}", probe_start, all_modules, probe_end);
  return probe;
}

std::string_view identity_probe() {
  static const std::string probe = fmt::format("{}{}{}", probe_start, telling_modules, probe_end);
  return probe;
}

bool is_same_device(const Capabilities& one, const Capabilities& other) {
  const auto identity = [](const Capabilities& of) {
    return std::tie(of.id, of.implementation, of.version, of.platform, of.machine);
  };
  return identity(one) == identity(other);
}

Capabilities parse_capabilities(std::string_view printed) {
  Capabilities capabilities;
  for (const auto part : std::views::split(printed, '\n')) {
    const std::string_view line(part.begin(), part.end());
    if (line.size() < 2 || (line[1] != ' ' && line[1] != ';')) continue;
    const std::string_view found = line.substr(2);
    switch (line[0]) {
      case 'i':
        read_implementation(capabilities, found);
        break;
      case 'p':
        read_platform(capabilities, found);
        break;
      case 'n':
        capabilities.machine = found;
        break;
      case 'd':
        capabilities.id = hex_of(found);
        break;
      default:
        break;
    }
  }
  std::ranges::sort(capabilities.modules);
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
