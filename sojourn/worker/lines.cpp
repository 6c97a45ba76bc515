#include "sojourn/worker/lines.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/base/limits.hpp"

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

void LastLines::add(std::string line) {
  lines_.push_back(std::move(line));
  if (lines_.size() > kept) lines_.pop_front();
}

std::string LastLines::text() const {
  return fmt::format("{}", fmt::join(lines_, "\n"));
}

Async<void> each_line(Descriptor pipe, LineSplitter::Sink sink) {
  namespace asio = boost::asio;
  asio::posix::stream_descriptor reading(co_await asio::this_coro::executor, pipe.release());
  LineSplitter lines;
  std::vector<char> buffer(16 * limits::kibibyte);
  boost::system::error_code error;
  while (!error) {
    const std::size_t got =
        co_await reading.async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    lines.feed({buffer.data(), got}, sink);
  }
  lines.finish(sink);
}

}  // namespace sojourn::worker
