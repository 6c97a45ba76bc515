#include <termios.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <istream>
#include <optional>
#include <ostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/cli/commands.hpp"
#include "sojourn/device/transport.hpp"

namespace sojourn::cli {

namespace {

namespace asio = boost::asio;
using device::Transport;

constexpr char leave = '\x1d';                            // Ctrl-]
constexpr std::string_view to_prompt = "\r\x03\x03\x02";  // interrupts what runs, and leaves raw mode

// Every key goes to the board, also Ctrl-C, while this lives.
class RawTerminal {
 public:
  RawTerminal() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) {
      throw Error(ErrorCode::config_invalid,
                  "board repl needs a terminal; sojourn board exec ADDRESS @- takes a pipe");
    }
    termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~RawTerminal() { ::tcsetattr(STDIN_FILENO, TCSANOW, &before_); }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
};

// The board's line editor has the history and completion; this only carries bytes.
class Session {
 public:
  Session(Loop& loop, std::unique_ptr<Transport> wire)
      : wire_(std::move(wire)), keys_(loop.executor(), ::dup(STDIN_FILENO)), listening_(loop.executor()) {}

  Async<void> run(Instant deadline) {
    co_await wire_->open(deadline);
    wire_->send(to_prompt);
    listening_.spawn(show());
    co_await type();
    wire_->close();
    co_await listening_.join();
    if (lost_) throw *lost_;
  }

 private:
  Async<void> type() {
    for (char keys[256];;) {
      boost::system::error_code error;
      const std::size_t count =
          co_await keys_.async_read_some(asio::buffer(keys), asio::redirect_error(asio::use_awaitable, error));
      const std::string_view typed(keys, error ? 0 : count);
      wire_->send(typed.substr(0, typed.find(leave)));
      if (error || typed.find(leave) != typed.npos) break;
    }
    left_ = true;
  }

  Async<void> show() {
    try {
      for (;;) write(co_await wire_->receive());
    } catch (const Error& error) {
      if (!left_) lost_ = error;
    }
    boost::system::error_code ignored;
    keys_.close(ignored);
  }

  static void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
      if (count < 0 && errno != EINTR && errno != EAGAIN) throw io_error("standard output", errno);
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  std::unique_ptr<Transport> wire_;
  asio::posix::stream_descriptor keys_;
  TaskGroup listening_;
  bool left_ = false;
  std::optional<Error> lost_;
};

}  // namespace

ExitCode open_board_terminal(const BoardOptions& options, Console& console) {
  Loop loop;
  SystemClock clock;
  auto wire = device::make_transport(loop.executor(), clock, device::parse_address(options.address));
  const RawTerminal terminal;
  Session session(loop, std::move(wire));
  console.err << "Ctrl-] leaves\r\n" << std::flush;
  loop.run(session.run(clock.instant() + Seconds(options.timeout)));
  console.err << "\r\n";
  return ExitCode::ok;
}

}  // namespace sojourn::cli
