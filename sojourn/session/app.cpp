#include "sojourn/session/app.hpp"

namespace sojourn::session {

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
  }
  return "lost";
}

}  // namespace sojourn::session
