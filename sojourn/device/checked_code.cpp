#include "sojourn/device/checked_code.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sojourn::device {

namespace {

constexpr std::uint64_t code_modulus = 9'999'991;  // seven digits to send; damaged code passes once in 10^7
constexpr std::uint64_t code_multiplier = 997;
constexpr std::size_t code_group = 128;  // bytes that the guard takes as one integer: a loop in C, little garbage
constexpr std::uint64_t content_modulus = 999'999'937;
constexpr std::uint64_t content_multiplier = 65'599;

// What raises leaves `f` as it is, and so the function's own repr where a value would be.
constexpr std::string_view guard =
    "def _j(h,c,f=eval):\n"
    " s=len(c)\n"
    " for i in range(0,s,128):s=(s*997+int.from_bytes(c[i:i+128],'big'))%9999991\n"
    " if s+(f==exec)==h:\n"
    "  print(end='\\6')\n"
    "  try:f=repr(f(c))\n"
    "  finally:print('\\6',h%90,f)\n";

std::uint32_t code_hash(std::string_view code) {
  std::uint64_t hash = code.size();
  for (; !code.empty(); code.remove_prefix(std::min(code.size(), code_group))) {
    std::uint64_t value = 0;
    for (const char byte : code.substr(0, code_group)) {
      value = (value * 256 + static_cast<unsigned char>(byte)) % code_modulus;
    }
    hash = (hash * code_multiplier + value) % code_modulus;
  }
  return static_cast<std::uint32_t>(hash);
}

CheckedCode checked(std::uint32_t hash, std::string text) {
  return {std::move(text), fmt::format("\6 {} ", hash % 90)};
}

}  // namespace

std::string_view guard_script() {
  static const std::string script = fmt::format(
      "_j={}\n"
      "print('\\6%d.'%(int.from_bytes(_j,'big')%999999937))\n"
      "__import__('gc').collect()\n"
      "exec(_j)\n",
      bytes_literal(guard));
  return script;
}

std::string_view guard_receipt() {
  static const std::string receipt = [] {
    std::uint64_t value = 0;
    for (const char byte : guard) value = (value * 256 + static_cast<unsigned char>(byte)) % content_modulus;
    return fmt::format("\6{}.", value);
  }();
  return receipt;
}

std::uint32_t content_hash(std::string_view bytes) {
  std::uint64_t hash = 0;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), content_group))) {
    const std::string_view group = bytes.substr(0, content_group);
    std::uint64_t value = 0;
    for (auto byte = group.rbegin(); byte != group.rend(); ++byte) {
      value = (value * 256 + static_cast<unsigned char>(*byte)) % content_modulus;
    }
    hash = (hash * content_multiplier + value) % content_modulus;
  }
  return static_cast<std::uint32_t>(hash);
}

// The shorter ways to write it are worth looking for: a small board takes some microseconds for each byte.
std::string bytes_literal(std::string_view bytes) {
  const char quote = std::ranges::count(bytes, '\'') > std::ranges::count(bytes, '"') ? '"' : '\'';
  const bool in_lines = std::ranges::count(bytes, '\n') > 4;
  const std::string quotes(in_lines ? 3 : 1, quote);
  std::string out = "b" + quotes;
  for (const char c : bytes) {
    if (c == '\n') {
      out += in_lines ? "\n" : "\\n";
    } else if (c == '\\' || c == quote) {
      out += '\\';
      out += c;
    } else if (c >= 0x20 && c <= 0x7e) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + quotes;
}

CheckedCode checked_code(std::string_view code, CodeKind kind) {
  const std::uint32_t hash = code_hash(code) + (kind == CodeKind::expression ? 0 : 1);
  const std::string_view function = kind == CodeKind::expression   ? ""
                                    : kind == CodeKind::statements ? ",exec"
                                                                   : ",(__import__('gc').collect(),exec)[1]";
  return checked(hash, fmt::format("_j({},{}{})", hash, bytes_literal(code), function));
}

std::string handle_script(std::size_t handle, std::string_view function) {
  return fmt::format("_j{0}=lambda h,*a:_j(h,'{0}'+repr(a),lambda c:{1}(*a))", handle, function);
}

// Sums of the same bytes differ by the handle, so that the guard's own name is none of them.
std::string bytes_handle_script(std::size_t handle, std::string_view function) {
  return fmt::format("_j{}=lambda h,c:_j(h-{},c,{})", handle, handle + 1, function);
}

CheckedCode checked_call(std::size_t handle, std::string_view values, std::string_view repr) {
  const std::uint32_t hash = code_hash(fmt::format("{}{}", handle, repr));
  return checked(hash, fmt::format("_j{}({}{}{})", handle, hash, values.empty() ? "" : ",", values));
}

CheckedCode checked_bytes(std::size_t handle, std::string_view bytes) {
  const std::uint32_t hash = code_hash(bytes);
  return checked(hash, fmt::format("_j{}({},{})", handle, hash + handle + 1, bytes_literal(bytes)));
}

}  // namespace sojourn::device
