#include "sojourn/base/descriptor.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <thread>

namespace sojourn {

namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category());
    out.reset(ends[0]);
    in.reset(ends[1]);
  }

  Descriptor out;
  Descriptor in;
};

std::atomic<int> signals_seen{0};

// Signals that break off what a thread waits in.
class Interruptions {
 public:
  Interruptions() {
    struct sigaction action{};
    action.sa_handler = [](int) { ++signals_seen; };  // without SA_RESTART
    ::sigaction(SIGUSR1, &action, &before_);
  }
  ~Interruptions() { ::sigaction(SIGUSR1, &before_, nullptr); }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;

  // One after the other: nearly all of them come while it waits, for it does nothing else.
  static void interrupt(std::thread& thread, const std::atomic<bool>& is_over) {
    for (int i = 0; i < 50 && !is_over; ++i) {
      const int seen = signals_seen;
      ::pthread_kill(thread.native_handle(), SIGUSR1);
      while (signals_seen == seen && !is_over) std::this_thread::yield();
    }
  }

 private:
  struct sigaction before_{};
};

TEST(WriteAll, WritesAllThoughSignalsInterruptIt) {
  const Interruptions interruptions;
  Pipe pipe;
  const std::string bytes(1 << 20, 'x');  // more than a pipe holds
  std::size_t written = 0;
  std::atomic<bool> is_over{false};
  std::thread writer([&] {
    written = write_all(pipe.in.get(), bytes);
    is_over = true;
    pipe.in.reset();  // so that who reads waits for no more
  });
  Interruptions::interrupt(writer, is_over);
  std::string came(bytes.size(), '\0');
  EXPECT_EQ(read_up_to(pipe.out.get(), came), bytes.size());
  writer.join();
  EXPECT_EQ(written, bytes.size());
  EXPECT_EQ(came, bytes);
}

TEST(WriteAll, TellsHowManyWereWrittenBeforeItFailed) {
  const Pipe pipe;
  ::fcntl(pipe.in.get(), F_SETFL, O_NONBLOCK);
  const auto room = static_cast<std::size_t>(::fcntl(pipe.in.get(), F_GETPIPE_SZ));
  EXPECT_EQ(write_all(pipe.in.get(), std::string(room + 1, 'x')), room);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(ReadUpTo, WaitsForAllThatFitsThoughSignalsInterruptIt) {
  const Interruptions interruptions;
  const Pipe pipe;
  std::string came(6, '\0');
  std::optional<std::size_t> got;
  std::atomic<bool> is_over{false};
  std::thread reader([&] {
    got = read_up_to(pipe.out.get(), came);
    is_over = true;
  });
  Interruptions::interrupt(reader, is_over);
  EXPECT_EQ(write_all(pipe.in.get(), "abc"), 3U);
  EXPECT_EQ(write_all(pipe.in.get(), "def"), 3U);
  reader.join();
  EXPECT_EQ(got, 6U);
  EXPECT_EQ(came, "abcdef");
}

TEST(ReadUpTo, StopsAtTheEnd) {
  Pipe pipe;
  write_all(pipe.in.get(), "abc");
  pipe.in.reset();
  std::string came(8, '\0');
  EXPECT_EQ(read_up_to(pipe.out.get(), came), 3U);
  EXPECT_EQ(read_up_to(pipe.out.get(), came), 0U);
}

TEST(ReadUpTo, ToldNothingSaysWhy) {
  std::string came(8, '\0');
  EXPECT_EQ(read_up_to(-1, came), std::nullopt);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace

}  // namespace sojourn
