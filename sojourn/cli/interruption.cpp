#include "sojourn/cli/interruption.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <utility>

#include "sojourn/base/error.hpp"

namespace sojourn::cli {

Interruption::Interruption(std::function<void()> tell) : tell_(std::move(tell)) {
  struct sigaction now{};
  if (::sigaction(SIGINT, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) return;
  ::sigemptyset(&interrupt_);
  ::sigaddset(&interrupt_, SIGINT);
  signals_.reset(::signalfd(-1, &interrupt_, SFD_CLOEXEC));
  ended_.reset(::eventfd(0, EFD_CLOEXEC));
  if (!signals_ || !ended_) throw io_error("signalfd", errno);
  ::pthread_sigmask(SIG_BLOCK, &interrupt_, nullptr);
  thread_ = std::thread([this] { watch(); });
}

Interruption::~Interruption() {
  if (!thread_.joinable()) return;
  ::eventfd_write(ended_.get(), 1);
  thread_.join();
  ::pthread_sigmask(SIG_UNBLOCK, &interrupt_, nullptr);
}

void Interruption::watch() {
  std::array<::pollfd, 2> polled{{{signals_.get(), POLLIN, 0}, {ended_.get(), POLLIN, 0}}};
  while (::poll(polled.data(), polled.size(), -1) < 0 && errno == EINTR) {
  }
  if (polled[1].revents != 0) return;
  ::signalfd_siginfo taken{};
  [[maybe_unused]] const ::ssize_t size = ::read(signals_.get(), &taken, sizeof taken);
  ::pthread_sigmask(SIG_UNBLOCK, &interrupt_, nullptr);  // for the second one
  try {
    tell_();
  } catch (const std::exception&) {
    // Whoever interrupts the program gets its end, if not its words.
  }
  ::raise(SIGINT);
}

}  // namespace sojourn::cli
