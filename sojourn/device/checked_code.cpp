#include "sojourn/device/checked_code.hpp"

#include <fmt/format.h>

namespace sojourn::device {

namespace {

constexpr std::uint64_t multiplier = 65'599;
constexpr std::uint64_t code_modulus = 9'999'991;  // seven digits to send; damaged code passes once in 10^7
constexpr std::uint64_t content_modulus = 999'999'937;
constexpr std::size_t code_group = 128;  // bytes that the guard takes as one integer: a loop in C, little garbage

constexpr std::string_view guard =
    "def _j(h,c,f=eval):\n"
    " s=len(c)\n"
    " for i in range(0,len(c),128):s=(s*65599+int.from_bytes(c[i:i+128],\"little\"))%9999991\n"
    " if s!=h:return\n"
    " print(\"\\6\")\n"
    " m=\"\\6%d\"%(h%90+10)\n"
    " try:print(m+repr(f(c)))\n"
    " except:\n"
    "  print(m)\n"
    "  raise\n";

std::uint32_t hash_of(std::string_view bytes, std::uint64_t hash, std::size_t group, std::uint64_t modulus) {
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, group);
    bytes.remove_prefix(part.size());
    std::uint64_t value = 0;
    for (auto byte = part.rbegin(); byte != part.rend(); ++byte) {
      value = (value * 256 + static_cast<unsigned char>(*byte)) % modulus;
    }
    hash = (hash * multiplier + value) % modulus;
  }
  return static_cast<std::uint32_t>(hash);
}

std::uint32_t code_hash(std::string_view code) {
  return hash_of(code, code.size(), code_group, code_modulus);
}

}  // namespace

std::string_view guard_script() {
  static const std::string script = fmt::format(
      "_j={}\n"
      "print('\\6%d.'%(int.from_bytes(_j,'little')%999999937))\n"
      "__import__('gc').collect()\n"
      "exec(_j)\n",
      bytes_literal(guard));
  return script;
}

std::string_view guard_receipt() {
  static const std::string receipt = fmt::format("\6{}.", hash_of(guard, 0, guard.size(), content_modulus));
  return receipt;
}

std::uint32_t content_hash(std::string_view bytes) {
  return hash_of(bytes, 0, content_group, content_modulus);
}

std::string bytes_literal(std::string_view bytes) {
  std::string out = "b'";
  for (const char c : bytes) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || c == '\'') {
      out += '\\';
      out += c;
    } else if (c >= 0x20 && c <= 0x7e) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  out += '\'';
  return out;
}

std::string checked_call(std::string_view code, std::string_view function) {
  const std::string_view separator = function == "eval" ? "" : ",";
  return fmt::format("_j({},{}{}{})", code_hash(code), bytes_literal(code), separator,
                     separator.empty() ? "" : function);
}

std::string end_mark(std::string_view code) {
  return fmt::format("\6{}", code_hash(code) % 90 + 10);
}

}  // namespace sojourn::device
