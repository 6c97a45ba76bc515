#include <fmt/format.h>

#include <ostream>

#include "sojourn/base/random.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/server/api_keys.hpp"

namespace sojourn::cli {

ExitCode create_key(const NewKeyOptions& options, const Settings& settings, Console& console) {
  std::filesystem::path file = options.file;
  if (options.file.empty()) {
    if (!settings.keys) {
      throw Error(ErrorCode::config_invalid,
                  "no key file is named: use --file FILE, or set keys (see sojourn config)");
    }
    file = *settings.keys;
  }
  SystemRandom random;
  const std::string key = server::new_key(random);
  try {
    server::Scopes scopes;
    for (const std::string& scope : options.scopes) scopes.add(server::parse_scope(scope));
    server::add_key(file, options.name, scopes, key);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_request) throw;
    throw Error(ErrorCode::config_invalid, error.message());
  }
  if (console.json) {
    print_json(console, JsonObject{{"name", options.name}, {"key", key}, {"file", file.string()}});
    return ExitCode::ok;
  }
  console.out << key << '\n';
  console.err << fmt::format(
      "{} holds the hash of this key, which is shown only now; a server takes it up when it starts again.\n",
      printable(file.string()));
  return ExitCode::ok;
}

}  // namespace sojourn::cli
