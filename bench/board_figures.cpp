#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "sojourn/base/loop.hpp"
#include "sojourn/device/board_files.hpp"

// What a board costs, beside a client that does the least: one JSON object a line, {"name", "bare_ms", "ms",
// "ratio"}.
//
//   board_figures ADDRESS [ROUNDS]
//
// ADDRESS is a subprocess. The bare client waits in poll(), sends code as it is, and checks nothing; both are
// measured in turn on boards of their own.
namespace {

using namespace sojourn;
using device::Board;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// The least that speaks raw REPL.
class BareClient {
 public:
  explicit BareClient(std::vector<std::string> command) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) throw io_error("socketpair", errno);
    wire_ = ends[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<char*> arguments;
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int error = ::posix_spawnp(&process_, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0) throw io_error(command.front(), error);
  }
  ~BareClient() {
    ::close(wire_);
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  BareClient(const BareClient&) = delete;
  BareClient& operator=(const BareClient&) = delete;

  void enter() {
    do {
      send("\x03\x03\x01");
    } while (!wait_for("CTRL-B to exit\r\n>", 50));
  }
  std::string run(const std::string& code) {
    send(code + '\x04');
    if (!wait_for("\x04>", 60'000)) throw Error(ErrorCode::call_timeout, "the board does not answer");
    return said_;
  }

 private:
  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::write(wire_, bytes.data(), bytes.size());
      if (count < 0) throw io_error("write", errno);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  bool wait_for(std::string_view end, int timeout) {
    said_.clear();
    while (!said_.ends_with(end)) {
      pollfd ready{wire_, POLLIN, 0};
      if (::poll(&ready, 1, timeout) <= 0) return false;
      char bytes[4096];
      const ssize_t count = ::read(wire_, bytes, sizeof bytes);
      if (count <= 0) throw io_error("read", errno);
      said_.append(bytes, static_cast<std::size_t>(count));
    }
    return true;
  }

  int wire_ = -1;
  pid_t process_ = 0;
  std::string said_;
};

void report(std::string_view name, double bare, double ours) {
  fmt::print("{{\"name\": \"{}\", \"bare_ms\": {:.3f}, \"ms\": {:.3f}, \"ratio\": {:.2f}}}\n", name, bare, ours,
             ours / bare);
}

struct Figures {
  std::vector<double> bare;
  std::vector<double> ours;
  void print(std::string_view name) const { report(name, median(bare), median(ours)); }
};

const device::Function add{"add", "def add(a, b):\n return a + b\n", {"bench", 1}};

Async<void> measure(Board& board, BareClient& bare, int rounds, std::size_t file_bytes) {
  const auto soon = [&] { return board.link().in(Seconds(60)); };
  const std::vector<device::Value> arguments{{std::int64_t(2)}, {std::int64_t(3)}};
  Figures opening, call, file;

  // Both boards run already; the prompt and what the board can do are what a session waits for.
  bare.enter();
  co_await board.open(soon());
  for (int i = 0; i < 20; ++i) {
    auto start = Clock::now();
    bare.enter();
    bare.run(std::string(device::capability_probe()));
    opening.bare.push_back(milliseconds_since(start));
    co_await board.soft_reset(soon());
    start = Clock::now();
    co_await board.capabilities(soon());
    opening.ours.push_back(milliseconds_since(start));
  }
  opening.print("what it can do, after a reset");

  bare.run(add.source);
  co_await board.call(add, arguments, soon());
  for (int i = 0; i < rounds; ++i) {
    auto start = Clock::now();
    bare.run("print(add(2,3))");
    call.bare.push_back(milliseconds_since(start));
    start = Clock::now();
    co_await board.call(add, arguments, soon());
    call.ours.push_back(milliseconds_since(start));
  }
  call.print("call of a deployed function");

  const std::string data(file_bytes, 'x');
  device::BoardFiles files(board, {.chunk = 512});
  for (int i = 0; i < 5; ++i) {
    auto start = Clock::now();
    bare.run("f=open('f','wb')");
    for (std::size_t at = 0; at < data.size(); at += 512) bare.run("f.write(b'" + data.substr(at, 512) + "')");
    bare.run("f.close()");
    file.bare.push_back(milliseconds_since(start));
    start = Clock::now();
    co_await files.write("f", data, soon());
    file.ours.push_back(milliseconds_since(start));
  }
  file.print(fmt::format("put of {} bytes", file_bytes));
  fmt::print("{{\"name\": \"sends repeated\", \"value\": {}}}\n", board.link().statistics().damaged);
}

Async<void> run(Board& board, BareClient& bare, int rounds, std::size_t file_bytes) {
  std::exception_ptr failure;
  try {
    co_await measure(board, bare, rounds, file_bytes);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await board.close();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2)
    throw Error(ErrorCode::config_invalid, "usage: board_figures subprocess:COMMAND [ROUNDS [FILE_BYTES]]");
  const device::Address address = device::parse_address(arguments[1]);
  const int rounds = count > 2 ? std::stoi(arguments[2]) : 500;
  const std::size_t file_bytes = count > 3 ? std::stoul(arguments[3]) : 8192;
  Loop loop;
  SystemClock clock;
  SystemRandom random;
  BareClient bare(std::get<device::SubprocessAddress>(address).command);
  Board board(loop.executor(), clock, random, address);
  loop.run(run(board, bare, rounds, file_bytes));
} catch (const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return 1;
}
