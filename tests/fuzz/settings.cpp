// sojourn.toml: it is read, or refused in a text that can be shown.

#include "sojourn/cli/settings.hpp"

#include "as_file.hpp"
#include "sojourn/base/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const AsFile input("sojourn.toml");
  input.write(data, size);
  try {
    const auto settings = sojourn::cli::read_settings({.config = input.file()});
    expect(settings.values.size() == sojourn::cli::all_settings().size(), "every setting has a value");
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::config_invalid, "a refusal is a config_invalid");
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
  }
  return 0;
}
