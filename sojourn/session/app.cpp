#include "sojourn/session/app.hpp"

namespace sojourn::session {

Error unreached(const Error& lost) {
  JsonObject details = lost.details();
  details["reached"] = false;
  return Error(lost.code(), lost.message() + " before the call reached it", std::move(details));
}

bool is_unreached(const Error& error) {
  const Json* reached = error.details().if_contains("reached");
  const bool by_server = error.code() == ErrorCode::worker_lost || error.code() == ErrorCode::protocol_error;
  return by_server && reached != nullptr && *reached == Json(false);
}

std::string_view to_string(CloseReason reason) {
  switch (reason) {
    case CloseReason::ended:
      return "ended";
    case CloseReason::expired:
      return "expired";
    case CloseReason::lost:
      return "lost";
    case CloseReason::server_stopping:
      return "server_stopping";
    case CloseReason::sleeping:
      return "sleeping";
  }
  return "lost";
}

}  // namespace sojourn::session
