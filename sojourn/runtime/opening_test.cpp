#include <gmock/gmock.h>

#include <future>

#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/store/verify.hpp"

// What becomes of a session whose first worker does not open. Its app does not recover.
namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::TaskStatus;
using testing::HasSubstr;

class OpeningTest : public RuntimeTest {};

TEST_F(OpeningTest, ASessionWhoseFirstWorkerDoesNotStartHasFailed) {
  script.open_error = Error(ErrorCode::worker_start_failed, "the program exited with status 1");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView view = co_await test.call("new", "run");
    EXPECT_EQ(view.task.status, TaskStatus::failed);
    EXPECT_THAT(view.task.error, HasSubstr("exited with status 1"));
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->session(view.task.session_id)).record.head.status,
              store::SessionStatus::failed);
  });
}

// Session `id` is served as one that never had a worker.
Async<void> expect_unharmed(RuntimeTest& test, std::string id) {
  co_await test.settle();
  EXPECT_EQ((co_await test.runtime->session(id)).record.head.status, store::SessionStatus::active);
  co_await test.pass(31s);  // it comes back from the store too
  EXPECT_EQ((co_await test.call(id, "increment")).task.output, "1");
  EXPECT_FALSE(test.script.restored);
  EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
}

TEST_F(OpeningTest, ASessionStaysWhoseFirstWorkerOnlyCouldNotStartNow) {
  script.open_error = Error(ErrorCode::unavailable, "no process is left");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const TaskView view = co_await test.call("new", "run");
    EXPECT_THAT(view.task.error, HasSubstr("no process is left"));
    test.script.open_error.reset();
    co_await expect_unharmed(test, view.task.session_id);
  });
}

TEST_F(OpeningTest, ASessionStaysWhoseFirstCallIsCancelledWhileItsWorkerStarts) {
  script.hold_open = true;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "run");
    co_await test.runtime->cancel(call->task.id);
    co_await test.pass(2s);
    EXPECT_EQ(call->task.status, TaskStatus::cancelled);
    test.script.hold_open = false;
    co_await expect_unharmed(test, call->task.session_id);
  });
}

TEST_F(OpeningTest, ASessionStaysWhoseFirstCallIsOverBeforeItsWorkerHasStarted) {
  info.call_timeout = 3s;
  script.hold_open = true;
  script.open_error = Error(ErrorCode::worker_start_failed, "its setup did not end in time");
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "run");
    co_await test.pass(3s);
    test.script.release.notify_all();  // as an app does at the deadline
    co_await test.settle();
    EXPECT_EQ(call->task.status, TaskStatus::failed);
    test.script.hold_open = false;
    test.script.open_error.reset();
    co_await expect_unharmed(test, call->task.session_id);
  });
}

TEST_F(OpeningTest, AWorkerOpensWhileItsFolderComesToTheDiskAndNoCallIsAnsweredBefore) {
  static std::promise<void> disk;  // the body takes nothing but the test
  disk = {};
  Options options;
  options.keep_folder = [](const store::SessionRecord&) { disk.get_future().wait(); };
  with_runtime(
      [](RuntimeTest& test) -> Async<void> {
        const auto call = co_await test.start("new", "run", 5);
        EXPECT_THAT(test.script.log, testing::ElementsAre("open"));
        EXPECT_EQ(call->task.status, TaskStatus::setting_up);
        disk.set_value();
        co_await LiveCall::wait_final(call);
        EXPECT_EQ(call->task.output, "5");
      },
      std::move(options));
}

TEST_F(OpeningTest, ASessionStaysWhoseFolderDidNotComeToTheDisk) {
  Options options;
  options.keep_folder = [fails = true](const store::SessionRecord&) mutable {
    if (std::exchange(fails, false)) throw Error(ErrorCode::store_full, "no space for its folder");
  };
  with_runtime(
      [](RuntimeTest& test) -> Async<void> {
        const TaskView view = co_await test.call("new", "run");
        EXPECT_THAT(view.task.error, HasSubstr("no space for its folder"));
        EXPECT_THAT(test.script.log, testing::ElementsAre("open", "close lost"));
        co_await expect_unharmed(test, view.task.session_id);
      },
      std::move(options));
}

}  // namespace

}  // namespace sojourn::runtime
