#include "sojourn/client/loop_thread.hpp"

#include <boost/asio/post.hpp>

namespace sojourn::client {

LoopThread::LoopThread() : thread_([this] { loop_.run(serve()); }) {}

LoopThread::~LoopThread() {
  boost::asio::post(loop_.executor(), [this] {
    is_stopping_ = true;
    stopping_.notify_all();
  });
  thread_.join();
}

Async<void> LoopThread::serve() {
  while (!is_stopping_) co_await stopping_.wait();
}

}  // namespace sojourn::client
