#include <iostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/device/device_session_manager.hpp"

// A thread on a board: it blinks while its session does other things, and ends with the session.
using sojourn::Async;
using sojourn::Instant;
using sojourn::Seconds;
using sojourn::device::BackgroundThreadInfo;
using sojourn::device::Board;
using sojourn::device::DeviceSession;
using sojourn::device::DeviceSessionManager;
using sojourn::device::Function;

const Function blink{"blink",
                     "blinks = 0\n"
                     "def blink(beat):\n"
                     "    global blinks\n"
                     "    while beat():  # the heartbeat, and false when the thread is to end\n"
                     "        blinks += 1\n"
                     "    blinks = 0\n",
                     {"blink.py", 1}};
const Function pump{"pump", "def pump(beat):\n    beat()\n    raise OSError(19)\n", {"pump.py", 1}};

Async<void> use(DeviceSession& session, sojourn::Clock& clock) {
  const auto soon = [&] { return clock.instant() + Seconds(30); };
  const std::string lamp = co_await session.start_thread(blink, {}, soon());
  const std::string water = co_await session.start_thread(pump, {}, soon());
  std::cout << "beside them: " << co_await session.exec("print(6 * 7)", soon());

  // A manager does this by itself once a second, and tells its log and on_thread_news().
  bool failed = false;
  while (!failed) {
    for (const BackgroundThreadInfo& thread : co_await session.watch(soon())) {
      std::cout << thread.thread_id << ' ' << to_string(thread.state) << ": " << thread.error.value().message()
                << '\n';
      failed = thread.thread_id == water;
    }
  }
  std::cout << "threads that run: " << session.resource_stats().background_threads << '\n';
  co_await session.stop_thread(lamp, soon());
  std::cout << lamp << " has ended\n";
}

Async<void> serve(Board& board, DeviceSessionManager& sessions, sojourn::Clock& clock) {
  std::exception_ptr failure;
  try {
    const auto session = co_await sessions.create(board);
    co_await use(*session, clock);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await sessions.close();
  co_await board.close();
  if (failure) std::rethrow_exception(failure);
}

int main(int count, char** arguments) try {
  const std::string address = count > 1 ? arguments[1] : "/dev/ttyACM0";
  sojourn::Loop loop;
  sojourn::SystemClock clock;
  sojourn::SystemRandom random;
  sojourn::Log log = sojourn::Log::silent();
  Board board(loop.executor(), clock, random, sojourn::device::parse_address(address));
  DeviceSessionManager sessions(loop.executor(), clock, random, log, {.watch_interval = Seconds(1000)});
  loop.run(serve(board, sessions, clock));
} catch (const sojourn::Error& error) {
  std::cerr << error.message() << '\n';
  return 1;
}
