#include "sojourn/store/sessions_owner.hpp"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/store/durable_file.hpp"

namespace sojourn::store {

namespace {

constexpr std::size_t most_bytes = 1'000;

}  // namespace

void claim_sessions(const std::filesystem::path& sessions, std::string_view key, const PublicKeys& all) {
  const std::filesystem::path file = sessions / "owner";
  std::optional<std::string> found = read_small_file(file, most_bytes);
  if (!found) {
    replace_file(file, std::string(key) + "\n");
    return;
  }
  const std::string owner = found->substr(0, found->find('\n'));
  if (all.contains(owner)) return;
  throw Error(
      ErrorCode::config_invalid,
      fmt::format("'{}' holds the sessions' folders of another store, whose journals the key '{}' signs: name "
                  "another folder by data_sessions_path; if that store is gone, remove '{}'",
                  sessions.string(), to_valid_utf8(owner), file.string()));
}

}  // namespace sojourn::store
