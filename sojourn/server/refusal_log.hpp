#pragma once

#include <optional>

#include "sojourn/base/clock.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/log.hpp"

namespace sojourn::server {

// Tells operators why the store refuses changes: a line a minute while it does, and at once where the reason is
// another than before.
// Threads:  one, the store's.
// Lifetime: `clock` and `log` are the caller's.
class RefusalLog {
 public:
  RefusalLog(const Clock& clock, const Log& log) : clock_(clock), log_(log) {}

  void tell(const Error& why);

 private:
  struct Told {
    ErrorCode code;
    Instant at;
  };

  const Clock& clock_;
  const Log& log_;
  std::optional<Told> told_;
};

}  // namespace sojourn::server
