#include "sojourn/device/typed_task.hpp"

#include <fmt/format.h>

namespace sojourn::device {

void throw_wrong_type(const Function& function, const Value& returned) {
  const std::string repr = to_valid_utf8(to_python(returned));
  throw Error(
      ErrorCode::app_error,
      fmt::format("TypeError: {}() returned {}, which is not what it is declared to return ({}:{})", function.name,
                  repr.size() > 100 ? repr.substr(0, 100) + "..." : repr, function.place.file, function.place.line),
      {{"type", "TypeError"}, {"class", "runtime"}, {"advice", "Correct the code, or what it is declared to be."}});
}

}  // namespace sojourn::device
