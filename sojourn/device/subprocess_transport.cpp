#include "sojourn/device/subprocess_transport.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

#include "sojourn/device/stream_transport.hpp"

extern char** environ;

namespace sojourn::device {

namespace asio = boost::asio;

namespace {

// What posix_spawn is told; its functions fail only for want of memory.
class SpawnPlan {
 public:
  explicit SpawnPlan(int standard_streams) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_adddup2(&actions_, standard_streams, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, standard_streams, STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    ::sigaddset(&signals, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  pid_t spawn(const std::vector<std::string>& command) const {
    // The kernel kills it when this thread dies, however that comes about.
    std::vector<std::string> words = {"setpriv", "--pdeathsig", "KILL"};
    words.insert(words.end(), command.begin(), command.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t process = 0;
    const int error = ::posix_spawnp(&process, arguments[0], &actions_, &attributes_, arguments.data(), environ);
    if (error != 0) throw Error(ErrorCode::connection_failed, fmt::format("setpriv: {}", std::strerror(error)));
    return process;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

class SubprocessTransport final : public StreamTransport<asio::local::stream_protocol::socket> {
 public:
  SubprocessTransport(Executor executor, SubprocessAddress address)
      : StreamTransport(std::move(executor)), address_(std::move(address)) {}
  ~SubprocessTransport() override { kill(); }

  Async<void> open(Instant) override {
    close();
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw io_error("socketpair", errno);
    asio::local::stream_protocol::socket ours(executor(), asio::local::stream_protocol(), ends[0]);
    const asio::local::stream_protocol::socket theirs(executor(), asio::local::stream_protocol(), ends[1]);
    process_ = SpawnPlan(ends[1]).spawn(address_.command);
    adopt(std::move(ours));
    co_return;
  }

  bool can_restart() const override { return true; }

  Async<void> restart(Instant) override {
    close();
    co_return;
  }

  void close() override {
    StreamTransport::close();
    kill();
  }

 private:
  void kill() {
    if (process_ <= 0) return;
    ::kill(-process_, SIGKILL);
    ::kill(process_, SIGKILL);  // where it has not come to lead its group
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
    process_ = 0;
  }

  SubprocessAddress address_;
  pid_t process_ = 0;
};

}  // namespace

std::unique_ptr<Transport> make_subprocess_transport(Executor executor, SubprocessAddress address) {
  return std::make_unique<SubprocessTransport>(std::move(executor), std::move(address));
}

}  // namespace sojourn::device
