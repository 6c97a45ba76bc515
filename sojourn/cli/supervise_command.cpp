#include "sojourn/cli/commands.hpp"

namespace sojourn::cli {

int supervise() {
  return 1;
}

}  // namespace sojourn::cli
