// The file of API keys: it is read or refused in a text that can be shown, and lets nobody in who has no key.

#include "as_file.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/server/api_keys.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const AsFile input("keys.toml");
  input.write(data, size);
  try {
    const auto keys = sojourn::server::ApiKeys::read(input.file());
    expect(!keys.find("Bearer ") && !keys.find("Bearer x") && !keys.find(""), "nobody comes in without a key");
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::config_invalid, "a refusal is a config_invalid");
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
  }
  return 0;
}
