#include <gmock/gmock.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/schedule.hpp"
#include "sojourn/runtime/schedule_fixture_test.hpp"
#include "sojourn/store/verify.hpp"

// Calls that are put off, where there is no room for them at first.
namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;

TEST_F(ScheduleTest, ASessionTakesAsManyAsItsQueue) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    for (int i = 0; i < 5; ++i) co_await test.schedule(id, "run", hour);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.schedule(id, "run", hour)), ErrorCode::queue_full);
    EXPECT_EQ(test.runtime->statistics().scheduled, 5u);
  });
}

TEST_F(ScheduleTest, ScheduledCallsBoundsThoseOfAllSessions) {
  TaskGroup group(loop.executor());
  Schedule full(group, clock, nullptr);
  full.enter(limits::scheduled_calls - 1);
  full.check_room();
  full.enter(1);
  EXPECT_THROW(full.check_room(), Error);
  full.leave("task");
  full.check_room();
}

TEST_F(ScheduleTest, AQueueThatIsFullMakesThemWaitInTheirOrder) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    std::vector<store::TaskRecord> tasks;
    for (int i = 0; i < 5; ++i) tasks.push_back(co_await test.schedule(id, "run", 10s));
    const auto running = co_await test.start(id, "wait");
    for (int i = 0; i < 3; ++i) co_await test.start(id, "run");
    co_await test.pass(10s);
    EXPECT_EQ((co_await test.runtime->session(id)).queued, 5u);
    EXPECT_EQ(co_await test.status(tasks.at(2)), TaskStatus::received);
    test.script.release.notify_all();
    co_await test.settle();
    co_await test.pass(2s);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const store::TaskRecord task = (co_await test.runtime->task(tasks[i].id)).task;
      EXPECT_EQ(task.status, TaskStatus::completed);
      EXPECT_EQ(task.seq, 6 + i);
    }
  });
}

TEST_F(ScheduleTest, ASessionForWhichThereIsNoRoomWaitsForIt) {
  info.max_sessions = 1;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const store::TaskRecord task = co_await test.schedule("new", "run", 100s);
    co_await test.pass(31s);  // it leaves memory
    const std::string other = co_await test.new_session();
    co_await test.pass(40s);
    co_await test.call(other, "run");
    co_await test.pass(40s);
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);
    co_await test.runtime->end_session(other, "me");
    co_await test.pass(2s);
    EXPECT_EQ(co_await test.status(task), TaskStatus::completed);
  });
}

TEST_F(ScheduleTest, AStoreThatRefusesMakesItWaitAndRunOnce) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    const store::TaskRecord task = co_await test.schedule(id, "increment", 10s);
    const auto running = co_await test.start(id, "wait");
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.pass(10s);
    co_await test.pass(2s);
    co_await test.pass(2s);
    EXPECT_EQ(co_await test.status(task), TaskStatus::received);
    EXPECT_EQ((co_await test.runtime->session(id)).queued, 0u);
    test.guarded.refuses = nullptr;
    test.script.release.notify_all();
    co_await test.pass(2s);
    const store::TaskRecord done = (co_await test.runtime->task(task.id)).task;
    EXPECT_EQ(done.status, TaskStatus::completed);
    EXPECT_EQ(done.output, "1");
    EXPECT_EQ(test.served("increment"), 1u);
    EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
  });
}

TEST_F(ScheduleTest, OneThatCouldNotBeWrittenDownKeepsItsPlaceAmongThoseOfItsTime) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    std::vector<store::TaskRecord> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(co_await test.schedule(id, "run", 10s));
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.pass(10s);
    EXPECT_EQ(co_await test.status(tasks.front()), TaskStatus::received);
    test.guarded.refuses = nullptr;
    co_await test.pass(2s);
    std::vector<std::uint64_t> numbers;
    for (const store::TaskRecord& task : tasks) numbers.push_back((co_await test.runtime->task(task.id)).task.seq);
    EXPECT_THAT(numbers, testing::ElementsAre(3u, 4u, 5u));
  });
}

TEST_F(ScheduleTest, OneThatCannotBeWrittenDownIsNotAccepted) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    ScheduleTest& test = of(base);
    const std::string id = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit&) { return true; };
    EXPECT_EQ(co_await RuntimeTest::code_of(test.schedule(id, "run", hour)), ErrorCode::store_full);
    test.guarded.refuses = nullptr;
    EXPECT_EQ(test.runtime->statistics().scheduled, 0u);
    co_await test.pass(60s);
    EXPECT_EQ(co_await test.session_status(id), SessionStatus::expired);
  });
}

}  // namespace

}  // namespace sojourn::runtime
