#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <string>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/device/transport.hpp"

namespace sojourn::device {

// A transport over one of Asio's streams: a socket or a descriptor. Who derives from it says how the stream is
// opened.
template <class Stream>
class StreamTransport : public Transport {
 public:
  explicit StreamTransport(Executor executor) : executor_(std::move(executor)) {}

  Async<std::string> receive() final {
    const auto wire = wire_;
    if (wire == nullptr) throw Error(ErrorCode::connection_failed, "the wire to the board is closed");
    std::string bytes(4096, '\0');
    boost::system::error_code error;
    const std::size_t count = co_await wire->stream.async_read_some(
        boost::asio::buffer(bytes), boost::asio::redirect_error(boost::asio::use_awaitable, error));
    if (error) throw lost(error);
    bytes.resize(count);
    co_return bytes;
  }

  void send(std::string_view bytes) final {
    if (wire_ == nullptr) return;
    if (wire_->sending.empty()) {
      boost::system::error_code error;
      const std::size_t count = wire_->stream.write_some(boost::asio::buffer(bytes), error);
      if (error && error != boost::asio::error::would_block) return;  // receive() will tell
      bytes.remove_prefix(error ? 0 : count);
    }
    wire_->waiting += bytes;
    if (wire_->sending.empty()) send_waiting(wire_);
  }

  void close() override {
    if (wire_ == nullptr) return;
    boost::system::error_code ignored;
    wire_->stream.close(ignored);
    wire_.reset();
  }

 protected:
  // Takes over `stream`, which is open, where none is.
  void adopt(Stream stream) {
    wire_ = std::make_shared<Wire>(std::move(stream));
    wire_->stream.non_blocking(true);
  }

  Stream* stream() { return wire_ ? &wire_->stream : nullptr; }
  const Executor& executor() const { return executor_; }

 private:
  // Shared with the read and the write that are under way.
  struct Wire {
    explicit Wire(Stream open) : stream(std::move(open)) {}
    Stream stream;
    std::string sending;  // stays where it is while it is written
    std::string waiting;
  };

  static Error lost(const boost::system::error_code& error) {
    return Error(ErrorCode::connection_failed, "the wire to the board is lost: " + error.message());
  }

  static void send_waiting(std::shared_ptr<Wire> wire) {
    if (wire->sending.empty()) wire->sending.swap(wire->waiting);
    if (wire->sending.empty()) return;
    wire->stream.async_write_some(boost::asio::buffer(wire->sending),
                                  [wire](boost::system::error_code error, std::size_t count) {
                                    if (error) return;
                                    wire->sending.erase(0, count);
                                    send_waiting(wire);
                                  });
  }

  Executor executor_;
  std::shared_ptr<Wire> wire_;
};

}  // namespace sojourn::device
