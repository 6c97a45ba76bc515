#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

// A server that says what a test tells it to, so that clients and commands can be tested against any answer.
namespace sojourn::client {

class FakeServer {
 public:
  struct Reply {
    int status = 200;
    std::string body;
    std::string headers;                            // further lines, each with its line end
    std::optional<std::string> raw = std::nullopt;  // sent in place of all that; "" for no answer at all
    bool stays_open = false;                        // the connection, until the server stops
  };

  // Answers one request with each of `replies`, in order, each on a connection of its own.
  explicit FakeServer(std::vector<Reply> replies)
      : acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}),
        port_(acceptor_.local_endpoint().port()),
        thread_([this, replies = std::move(replies)] { serve(replies); }) {}
  ~FakeServer() { stop(); }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  // Whole requests, head and body.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  // Listens no more.
  void stop() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    boost::asio::ip::tcp::socket waker(context_);  // accept() blocks until somebody comes
    boost::system::error_code ignored;
    waker.connect({boost::asio::ip::address_v4::loopback(), port_}, ignored);
    thread_.join();
    acceptor_.close(ignored);
  }

 private:
  bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  void serve(const std::vector<Reply>& replies) {
    for (const Reply& reply : replies) {
      boost::asio::ip::tcp::socket socket = acceptor_.accept();
      if (stopping()) return;
      std::string request;
      const std::size_t head = boost::asio::read_until(socket, boost::asio::dynamic_buffer(request), "\r\n\r\n");
      std::size_t length = 0;
      if (const auto at = request.find("Content-Length: "); at < head) length = std::stoul(request.substr(at + 16));
      while (request.size() < head + length) {
        char piece[4096];
        request.append(piece, socket.read_some(boost::asio::buffer(piece)));
      }
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(std::move(request));
      }
      const std::string answer =
          reply.raw
              ? *reply.raw
              : "HTTP/1.1 " + std::to_string(reply.status) + " X\r\nConnection: close\r\n" + reply.headers +
                    (reply.status == 204 ? "" : "Content-Length: " + std::to_string(reply.body.size()) + "\r\n") +
                    "\r\n" + reply.body;
      boost::asio::write(socket, boost::asio::buffer(answer));
      if (reply.stays_open) open_.push_back(std::move(socket));
    }
  }

  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::uint16_t port_;
  mutable std::mutex mutex_;
  bool stopping_ = false;
  std::vector<std::string> requests_;
  std::vector<boost::asio::ip::tcp::socket> open_;  // the serving thread's, until that has ended
  std::thread thread_;
};

}  // namespace sojourn::client
