#include <iostream>

#include "sojourn/base/loop.hpp"
#include "sojourn/device/device_session_manager.hpp"

// Sessions on a board: whatever an operation sets up there is cleaned up when its session ends, also when it fails.
using sojourn::Async;
using sojourn::Instant;
using sojourn::Seconds;
using sojourn::device::Board;
using sojourn::device::DeviceSession;
using sojourn::device::DeviceSessionManager;
using sojourn::device::Function;
using sojourn::device::Value;

// The one place where an application puts its boards and their sessions together: clock, random numbers, log, wires
// and options go in by constructor.
struct Application {
  explicit Application(const std::string& address)
      : board(loop.executor(), clock, random, sojourn::device::parse_address(address)),
        sessions(loop.executor(), clock, random, log, {.max_concurrent_sessions = 4}) {}

  Instant soon() const { return clock.instant() + Seconds(30); }

  sojourn::Loop loop;
  sojourn::SystemClock clock;
  sojourn::SystemRandom random;
  sojourn::Log log = sojourn::Log::silent();
  Board board;
  DeviceSessionManager sessions;
};

// A driver, as a board might have it.
constexpr const char* driver =
    "class Timer:\n"
    "    running = 0\n"
    "    def __init__(self, period):\n"
    "        self.period = period\n"
    "        Timer.running += 1\n"
    "    def deinit(self):\n"
    "        Timer.running -= 1\n";

// A timer is a resource: it costs something, and its clean-up stops it on the board.
Async<void> start_timer(DeviceSession& session, std::string name, int period, Application& app) {
  co_await session.exec(name + " = Timer(" + std::to_string(period) + ")", app.soon());
  struct Stop {
    static Async<void> run(Board& board, std::string timer, Instant deadline) {
      co_await board.exec(timer + ".deinit()", deadline);
    }
  };
  session.add_resource({.id = name, .kind = "timer", .cost = 50, .cleanup = [&app, name] {
                          return Stop::run(app.board, name, app.soon());
                        }});
}

// A status query: the function is sent once for a session, whatever it is called with.
const Function get_status{
    "get_status", "def get_status(unit):\n    return {'timers': Timer.running, 'unit': unit}\n", {"status.py", 1}};

Async<std::string> query_status(Application& app) {
  struct Query {
    static Async<std::string> run(DeviceSession& session, Application& in) {
      co_await start_timer(session, "blink", 500, in);
      co_await start_timer(session, "watch", 1000, in);
      const Value status = co_await session.call(get_status, {Value{std::string("C")}}, in.soon());
      std::cout << "resources: " << session.resource_stats().total_resources
                << ", cost: " << session.resource_stats().total_resource_cost << '\n';
      co_return to_python(status);
    }
  };
  return app.sessions.execute_in_session<std::string>(
      app.board, [&app](DeviceSession& session) { return Query::run(session, app); });
}

// Before: whoever uses the board cleans up, on every way out.
Async<void> collect_by_hand(Application& app) {
  co_await app.board.exec("hardware = 'on'", app.soon());
  std::exception_ptr failure;
  try {
    co_await app.board.exec("raise OSError(5)", app.soon());
  } catch (...) {
    failure = std::current_exception();
  }
  co_await app.board.exec("hardware = 'off'", app.soon());
  if (failure) std::rethrow_exception(failure);
}

// After: the session does.
Async<void> collect_in_session(Application& app) {
  struct Collection {
    static Async<bool> run(DeviceSession& session, Application& in) {
      session.add_setup({.name = "hardware", .code = "hardware = 'on'"});
      session.add_teardown({.name = "hardware", .code = "hardware = 'off'"});
      co_await session.exec("raise OSError(5)", in.soon());
      co_return true;
    }
  };
  co_await app.sessions.execute_in_session<bool>(
      app.board, [&app](DeviceSession& session) { return Collection::run(session, app); });
}

Async<void> show(const char* name, Async<void> collection, Application& app) {
  std::string failure;
  try {
    co_await std::move(collection);
  } catch (const sojourn::Error& error) {
    failure = error.message();
  }
  std::cout << name << ": " << failure << ", and the hardware is "
            << to_python(co_await app.board.eval("hardware", app.soon())) << '\n';
}

Async<void> use(Application& app) {
  co_await app.board.exec(driver, app.soon());
  const std::string status = co_await query_status(app);
  std::cout << "status: " << status << '\n';
  std::cout << "timers that still run: " << to_python(co_await app.board.eval("Timer.running", app.soon())) << '\n';
  co_await show("by hand", collect_by_hand(app), app);
  co_await show("in a session", collect_in_session(app), app);
  std::cout << "sessions: " << app.sessions.stats().total_session_count << ", of which "
            << app.sessions.stats().active_session_count << " are left\n";
}

Async<void> serve(Application& app) {
  std::exception_ptr failure;
  try {
    co_await use(app);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await app.sessions.close();
  co_await app.board.close();
  if (failure) std::rethrow_exception(failure);
}

int main(int count, char** arguments) try {
  Application app(count > 1 ? arguments[1] : "/dev/ttyACM0");
  app.loop.run(serve(app));
} catch (const sojourn::Error& error) {
  std::cerr << error.message() << '\n';
  return 1;
}
