#include "sojourn/device/checked_code.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn::device {

namespace {

constexpr std::uint64_t modulus = 999'999'937;
constexpr std::uint64_t multiplier = 65'599;
constexpr std::size_t group = 32;  // bytes that the guard takes as one integer: a loop in C, and no large integers

constexpr std::string_view guard =
    "def _sojourn(k,n,h,c,f=exec):\n"
    " s=k\n"
    " for i in range(0,len(c),32):s=(s*65599+int.from_bytes(c[i:i+32],\"little\"))%999999937\n"
    " if len(c)!=n or s!=h:return\n"
    " print(chr(6),k,chr(6),sep=\"\")\n"
    " try:r=f(c,globals())\n"
    " finally:print(chr(6),k,chr(6),sep=\"\",end=\"\")\n"
    " if r is not None:print(repr(r),end=\"\")\n";

}  // namespace

std::string_view guard_script() {
  static const std::string script = fmt::format(
      "_sojourn={}\n"
      "_s=0\n"
      "for _i in range(0,len(_sojourn),32):"
      "_s=(_s*65599+int.from_bytes(_sojourn[_i:_i+32],'little'))%999999937\n"
      "print(chr(6),_s,chr(6),sep='')\n"
      "exec(_sojourn)\n",
      bytes_literal(guard));
  return script;
}

std::string_view guard_receipt() {
  static const std::string receipt = run_mark(guard_hash(0, guard));
  return receipt;
}

std::uint32_t guard_hash(std::uint32_t number, std::string_view code) {
  std::uint64_t hash = number;
  while (!code.empty()) {
    const std::string_view part = code.substr(0, group);
    code.remove_prefix(part.size());
    std::uint64_t value = 0;
    for (auto byte = part.rbegin(); byte != part.rend(); ++byte) {
      value = (value * 256 + static_cast<unsigned char>(*byte)) % modulus;
    }
    hash = (hash * multiplier + value) % modulus;
  }
  return static_cast<std::uint32_t>(hash);
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

std::string checked_call(std::uint32_t number, std::string_view code, bool wants_value) {
  return fmt::format("_sojourn({},{},{},{}{})", number, code.size(), guard_hash(number, code), bytes_literal(code),
                     wants_value ? ",eval" : "");
}

std::string run_mark(std::uint32_t number) {
  return fmt::format("\6{}\6", number);
}

}  // namespace sojourn::device
