#include "sojourn/session/entry.hpp"

#include <fmt/format.h>

#include "sojourn/base/error.hpp"

namespace sojourn::session {

void check_version(std::optional<std::uint64_t> expected, std::uint64_t version) {
  if (!expected || *expected == version) return;
  throw Error(ErrorCode::precondition_failed,
              fmt::format("the session has version {}, not {}: it changed since it was read", version, *expected),
              {{"version", version}, {"expected", *expected}});
}

}  // namespace sojourn::session
