#include "sojourn/server/refusal_log.hpp"

#include <string>

namespace sojourn::server {

void RefusalLog::tell(const Error& why) {
  const Instant now = clock_.instant();
  if (told_ && told_->code == why.code() && now < told_->at + Seconds(60)) return;
  told_ = {.code = why.code(), .at = now};
  log_.error("the store refused changes, and with them the calls that made them",
             {{"error", why.message()}, {"code", std::string(info(why.code()).wire)}});
}

}  // namespace sojourn::server
