#include "sojourn/device/serial_transport.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <map>

#include "sojourn/base/event.hpp"
#include "sojourn/device/stream_transport.hpp"

namespace sojourn::device {

namespace asio = boost::asio;

namespace {

const std::map<unsigned, speed_t> speeds = {
    {1200, B1200},     {2400, B2400},     {4800, B4800},      {9600, B9600},     {19200, B19200},
    {38400, B38400},   {57600, B57600},   {115200, B115200},  {230400, B230400}, {460800, B460800},
    {500000, B500000}, {921600, B921600}, {1000000, B1000000}};

constexpr Milliseconds reset_pulse(100);  // that the reset line is held, for a capacitor on the board to discharge

class SerialTransport final : public StreamTransport<asio::posix::stream_descriptor> {
 public:
  SerialTransport(Executor executor, Clock& clock, SerialAddress address)
      : StreamTransport(std::move(executor)), clock_(clock), address_(std::move(address)) {}

  Async<void> open(Instant) override {
    close();
    const int file = ::open(address_.path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) throw failed(errno);
    asio::posix::stream_descriptor port(executor(), file);  // owns it from here
    if (::flock(file, LOCK_EX | LOCK_NB) != 0 || ::ioctl(file, TIOCEXCL) != 0) {
      if (errno != EWOULDBLOCK && errno != EBUSY) throw failed(errno);
      throw Error(ErrorCode::worker_leased, fmt::format("{}: another program has it open", address_.path));
    }
    make_raw(file);
    adopt(std::move(port));
    co_return;
  }

  bool can_restart() const override { return true; }

  Async<void> restart(Instant deadline) override {
    if (stream() == nullptr) co_await open(deadline);
    set_lines(TIOCM_RTS, TIOCM_DTR);
    co_await sleep_until(clock_, clock_.instant() + reset_pulse);
    if (stream() != nullptr) set_lines(0, TIOCM_RTS | TIOCM_DTR);
    close();
  }

 private:
  Error failed(int error) const {
    const ErrorCode code = error == EBUSY ? ErrorCode::worker_leased : ErrorCode::connection_failed;
    return Error(code, fmt::format("{}: {}", address_.path, std::strerror(error)));
  }

  void make_raw(int file) const {
    termios settings{};
    if (::tcgetattr(file, &settings) != 0) throw failed(errno);
    const auto speed = speeds.find(address_.baud);
    if (speed == speeds.end()) {
      throw Error(ErrorCode::config_invalid,
                  fmt::format("{}: no port runs at {} baud", address_.path, address_.baud));
    }
    ::cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    ::cfsetispeed(&settings, speed->second);
    ::cfsetospeed(&settings, speed->second);
    if (::tcsetattr(file, TCSANOW, &settings) != 0) throw failed(errno);
  }

  void set_lines(int on, int off) {
    int lines = 0;
    const int file = stream()->native_handle();
    if (::ioctl(file, TIOCMGET, &lines) != 0) throw failed(errno);
    lines = (lines | on) & ~off;
    if (::ioctl(file, TIOCMSET, &lines) != 0) throw failed(errno);
  }

  Clock& clock_;
  SerialAddress address_;
};

}  // namespace

std::unique_ptr<Transport> make_serial_transport(Executor executor, Clock& clock, SerialAddress address) {
  return std::make_unique<SerialTransport>(std::move(executor), clock, std::move(address));
}

}  // namespace sojourn::device
