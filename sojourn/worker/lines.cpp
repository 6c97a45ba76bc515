#include "sojourn/worker/lines.hpp"

#include <algorithm>
#include <utility>

#include "sojourn/base/json.hpp"

namespace sojourn::worker {

void LineSplitter::feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    const std::size_t room = max_bytes - line_.size();
    line_ += part.substr(0, room);
    if (part.size() > room) cut_ = true;
    if (end == std::string_view::npos) return;
    hand_over(sink);
    bytes.remove_prefix(end + 1);
  }
}

void LineSplitter::finish(const Sink& sink) {
  if (!line_.empty()) hand_over(sink);
}

void LineSplitter::hand_over(const Sink& sink) {
  if (line_.ends_with('\r')) line_.pop_back();
  sink(to_valid_utf8(std::exchange(line_, {})), std::exchange(cut_, false));
}

}  // namespace sojourn::worker
