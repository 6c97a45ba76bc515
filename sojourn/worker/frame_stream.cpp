#include "sojourn/worker/frame_stream.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <utility>

namespace sojourn::worker {

namespace asio = boost::asio;

FrameStream::FrameStream(Descriptor socket, TaskGroup& group, std::size_t max_incoming)
    : socket_(group.executor(), asio::local::stream_protocol(), socket.release()),
      group_(group),
      decoder_(max_incoming) {
  socket_.non_blocking(true);
}

Async<std::optional<Frame>> FrameStream::read() {
  for (;;) {
    if (auto frame = decoder_.next()) co_return frame;
    const std::span<char> room = decoder_.room();
    boost::system::error_code error;
    const std::size_t got = co_await socket_.async_read_some(asio::buffer(room.data(), room.size()),
                                                             asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
    if (error) co_return std::nullopt;  // closed, or reset because the peer had not read all
    decoder_.filled(got);
  }
}

bool FrameStream::send(std::string frame) {
  waiting_ += frame.size();
  queue_.push_back(std::move(frame));
  if (!sending_ && !send_some()) {
    sending_ = true;
    group_.spawn(send_waiting());
  }
  return !peer_gone_;
}

// Whether nothing waits any more.
bool FrameStream::send_some() {
  while (!queue_.empty()) {
    const std::string& frame = queue_.front();
    const ssize_t taken =
        ::send(socket_.native_handle(), frame.data() + sent_, frame.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return false;
      peer_gone_ = sent_ == 0 && queue_.size() == 1;
      drop();
      return true;
    }
    sent_ += static_cast<std::size_t>(taken);
    waiting_ -= static_cast<std::size_t>(taken);
    if (sent_ == frame.size()) {
      queue_.pop_front();
      sent_ = 0;
    }
  }
  return true;
}

Async<void> FrameStream::send_waiting() {
  while (!send_some()) {
    boost::system::error_code error;
    co_await socket_.async_wait(asio::socket_base::wait_write, asio::redirect_error(asio::use_awaitable, error));
    if (error) drop();
  }
  sending_ = false;
}

void FrameStream::flush() {
  while (!send_some()) {
    pollfd writable{socket_.native_handle(), POLLOUT, 0};
    ::poll(&writable, 1, -1);
  }
}

void FrameStream::shut_down() {
  drop();
  ::shutdown(socket_.native_handle(), SHUT_RDWR);
}

void FrameStream::drop() {
  queue_.clear();
  sent_ = 0;
  waiting_ = 0;
}

}  // namespace sojourn::worker
