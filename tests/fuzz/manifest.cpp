// app.toml: whatever it holds, it is an app that can be started, or refused in a text that can be shown.

#include "sojourn/worker/manifest.hpp"

#include <algorithm>

#include "as_file.hpp"
#include "sojourn/base/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const AsFile input("app.toml");
  input.write(data, size);
  try {
    const sojourn::worker::Manifest manifest = sojourn::worker::read_manifest(input.folder());
    expect(!manifest.info.name.empty() && !manifest.command.empty(), "an app has a name and a command");
    const auto& functions = manifest.info.functions;
    expect(std::ranges::find(functions, manifest.info.default_function) != functions.end(),
           "the default function is one of its functions");
    for (const std::string& word : manifest.command) {
      expect(word.find('\0') == std::string::npos, "a command can be handed to the system");
    }
    for (const auto& [name, value] : manifest.env) {
      expect(!name.empty() && name.find('=') == std::string::npos && name.find('\0') == std::string::npos &&
                 value.find('\0') == std::string::npos,
             "the environment can be handed to the system");
    }
  } catch (const sojourn::Error& error) {
    expect(error.code() == sojourn::ErrorCode::manifest_invalid, "a refusal is a manifest_invalid");
    expect(sojourn::is_valid_utf8(error.message()), "an error's message is valid UTF-8");
  }
  return 0;
}
