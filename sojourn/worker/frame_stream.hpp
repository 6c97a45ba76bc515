#pragma once

#include <boost/asio/local/stream_protocol.hpp>
#include <deque>
#include <optional>
#include <string>

#include "sojourn/base/async.hpp"
#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/worker/frame.hpp"

// Frames in and out over a Unix stream socket.
namespace sojourn::worker {

// Threads: one executor, the group's. Lifetime: the group's work ends before this does.
class FrameStream {
 public:
  // Takes over `socket`. `max_incoming` bounds a frame that is read.
  FrameStream(Descriptor socket, TaskGroup& group, std::size_t max_incoming);

  // The next frame, or nothing when the peer closed the connection.
  // Errors: protocol_error (see FrameDecoder::next). Cancel: terminal.
  Async<std::optional<Frame>> read();

  // Sends `frame` behind those that were sent before. Never waits: what the kernel does not take now waits here. When
  // the peer is gone it is dropped, which the reader notices; false where that is known now, so that nothing of it
  // was sent.
  bool send(std::string frame);

  // Bytes that wait to be sent.
  std::size_t waiting() const { return waiting_; }

  // Blocks the thread until nothing waits. For a program that has nothing else to do.
  void flush();

  // Ends both directions; read() returns nothing.
  void shut_down();

 private:
  bool send_some();
  Async<void> send_waiting();
  void drop();

  boost::asio::local::stream_protocol::socket socket_;
  TaskGroup& group_;
  FrameDecoder decoder_;
  std::deque<std::string> queue_;
  std::size_t sent_ = 0;  // bytes of the first in the queue
  std::size_t waiting_ = 0;
  bool sending_ = false;
  bool peer_gone_ = false;
};

}  // namespace sojourn::worker
