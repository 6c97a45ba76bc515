#include <gmock/gmock.h>

#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/runtime/sleepers.hpp"

// The wall clock is set by hand, or by NTP, in either direction: what waits goes by the time that has passed.
namespace sojourn::runtime {
namespace {

using namespace std::chrono_literals;
using store::SessionStatus;
using store::TaskStatus;

class SetClockTest : public RuntimeTest, public testing::WithParamInterface<Seconds> {
 public:
  static SetClockTest& of(RuntimeTest& base) { return static_cast<SetClockTest&>(base); }

  Async<void> set_clock() {
    clock.set_wall(clock.now() + GetParam());
    co_await settle();
  }

  Async<SessionStatus> status(std::string id) { co_return (co_await runtime->session(id)).record.head.status; }
};

INSTANTIATE_TEST_SUITE_P(Jump, SetClockTest, testing::Values(1h, -1h, 1s, -1s), [](const auto& info) {
  return (info.param > 0s ? "On" : "Back") + std::to_string(info.index);
});

TEST_P(SetClockTest, ASessionIsIdleForTheTimeThatPassed) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    SetClockTest& test = of(base);
    const TaskView view = co_await test.runtime->run({.app = "app", .session = "new", .session_timeout = 10s});
    const std::string id = view.task.session_id;
    co_await test.pass(4s);
    co_await test.set_clock();
    co_await test.pass(6s - 1us);
    EXPECT_EQ(co_await test.status(id), SessionStatus::active);
    co_await test.runtime->keepalive(id, "me");
    co_await test.set_clock();
    co_await test.pass(10s - 1us);
    EXPECT_EQ(co_await test.status(id), SessionStatus::active);
    co_await test.pass(1us);
    EXPECT_EQ(co_await test.status(id), SessionStatus::expired);
  });
}

TEST_P(SetClockTest, ALifetimeIsOfTheTimeThatPassed) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    SetClockTest& test = of(base);
    const TaskView view =
        co_await test.runtime->run({.app = "app", .session = "new", .session_timeout = 60s, .lifetime = 20s});
    co_await test.pass(5s);
    co_await test.set_clock();
    co_await test.pass(15s - 1us);
    EXPECT_EQ(co_await test.status(view.task.session_id), SessionStatus::active);
    co_await test.pass(1us);
    EXPECT_EQ(co_await test.status(view.task.session_id), SessionStatus::expired);
  });
}

TEST_P(SetClockTest, ACallIsStoppedAfterTheTimeThatPassed) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    SetClockTest& test = of(base);
    const auto running = co_await test.start("new", "wait_for_cancel");
    const Milliseconds timeout = running->timeout;
    co_await test.pass(1s);
    co_await test.set_clock();
    co_await test.pass(timeout - 1s - 1us);
    EXPECT_EQ(running->task.status, TaskStatus::running);
    co_await test.pass(1us);
    EXPECT_EQ(running->task.status, TaskStatus::failed);
    EXPECT_THAT(running->task.error, testing::HasSubstr("call_timeout"));
  });
}

TEST_P(SetClockTest, AWorkerSleepsAfterTheTimeThatPassed) {
  info.recover = true;
  info.sleep_after = 10s;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    SetClockTest& test = of(base);
    const std::string id = co_await test.new_session();
    co_await test.pass(4s);
    co_await test.set_clock();
    co_await test.pass(6s - 1us);
    EXPECT_FALSE((co_await test.runtime->session(id)).asleep);
    co_await test.pass(1us);
    EXPECT_TRUE((co_await test.runtime->session(id)).asleep);
  });
}

// Its time-out must hold across restarts, in which no time is measured.
TEST_P(SetClockTest, ASessionThatSleepsExpiresByTheWallClock) {
  info.recover = true;
  info.sleep_after = 10s;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    SetClockTest& test = of(base);
    const TaskView view = co_await test.runtime->run({.app = "app", .session = "new", .session_timeout = 60s});
    const std::string id = view.task.session_id;
    const Time end = test.clock.now() + 60s;
    co_await test.pass(10s);
    co_await test.set_clock();
    while (test.clock.now() < end - 1s) {
      co_await test.pass(std::min<Microseconds>(Sleepers::longest_look_away, end - 1s - test.clock.now()));
      EXPECT_EQ(co_await test.status(id), SessionStatus::active);
    }
    co_await test.pass(Sleepers::longest_look_away);
    EXPECT_EQ(co_await test.status(id), SessionStatus::expired);
  });
}

}  // namespace
}  // namespace sojourn::runtime
