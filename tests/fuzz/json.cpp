// Strict JSON: what is read is written so that it reads back as itself, and is written the same again.

#include "sojourn/base/json.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "expect.hpp"
#include "sojourn/base/error.hpp"

namespace {

std::optional<sojourn::Json> read(std::string_view text) {
  try {
    return sojourn::parse_json(text);
  } catch (const sojourn::Error& error) {
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = read(text);
  if (!value) return 0;
  const std::string written = sojourn::to_text(*value);
  const auto again = read(written);
  expect(again.has_value(), "what was written can be read");
  expect(*again == *value, "it reads back as itself");
  expect(sojourn::to_text(*again) == written, "it is written the same again");
  return 0;
}
