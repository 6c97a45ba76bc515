#include "sojourn/base/error.hpp"
#include "sojourn/cli/commands.hpp"

namespace sojourn::cli {

ExitCode verify_journals(const VerifyOptions&, const Settings&, Console&) {
  throw Error(ErrorCode::unavailable, "the store's verification is not joined up yet");
}

}  // namespace sojourn::cli
