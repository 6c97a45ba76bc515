#include "bench/bare_worker.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <cstring>

#include "sojourn/base/error.hpp"

namespace sojourn::bench {

namespace asio = boost::asio;

BareWorker::BareWorker(const Executor& executor, const std::string& script) : socket_(executor) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw io_error("socketpair", errno);
  socket_.assign(asio::local::stream_protocol(), ends[0]);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string python = "/usr/bin/python3";
  std::string path = script;
  std::array<char*, 3> arguments{python.data(), path.data(), nullptr};
  const int failed = ::posix_spawn(&process_, python.c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failed != 0) {
    throw Error(ErrorCode::worker_start_failed, "cannot start " + python + ": " + std::strerror(failed));
  }
}

BareWorker::~BareWorker() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

Async<JsonObject> BareWorker::call(std::string line) {
  line += '\n';
  std::size_t size = 0;
  try {
    co_await asio::async_write(socket_, asio::buffer(line), asio::use_awaitable);
    size = co_await asio::async_read_until(socket_, asio::dynamic_buffer(received_), '\n', asio::use_awaitable);
  } catch (const boost::system::system_error& error) {
    throw Error(ErrorCode::worker_lost, error.code().message());
  }
  JsonObject answer = parse_json_object(std::string_view(received_).substr(0, size));
  received_.erase(0, size);
  co_return answer;
}

}  // namespace sojourn::bench
