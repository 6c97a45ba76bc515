#include <gmock/gmock.h>

#include "sojourn/base/limits.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

// Every bound of the runtime in docs/reference/limits.md, reached once, by its name there.
namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;
using store::TaskStatus;
using testing::HasSubstr;

std::string text_of_size(std::size_t bytes) {
  return std::string(bytes - 2, 'x');  // with its quotes
}

class BoundsTest : public RuntimeTest {
 public:
  // Ends sessions whose calls do not stop by themselves.
  Async<void> end(std::vector<std::string> sessions) {
    TaskGroup group(loop.executor());
    for (const std::string& id : sessions) group.spawn(runtime->end_session(id, "me"));
    co_await settle();
    co_await pass(2s);
    co_await group.join();
  }
};

Async<void> write(RuntimeTest& test, std::string session, Json value) {
  try {
    co_await test.runtime->change_state(std::move(session), {{"key", std::move(value)}}, "me");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::queue_full);
  }
}

TEST_F(BoundsTest, QueueLimitCountsWritesToTheStateToo) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    TaskGroup group(test.loop.executor());
    for (int i = 0; i < 5; ++i) group.spawn(write(test, id, i));
    co_await test.settle();
    EXPECT_EQ(group.size(), 5u);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->change_state(id, {{"key", Json(6)}}, "me")),
              ErrorCode::queue_full);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(id, "run")), ErrorCode::queue_full);
    test.script.release.notify_all();
    co_await group.join();
    EXPECT_EQ((co_await test.runtime->state(id)).at("key"), "4");
    EXPECT_EQ((co_await test.call(id, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, DefaultQueueBoundsWritesToASessionWithoutAnApp) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = (co_await test.runtime->create_session({})).record.id;
    test.guarded.holds_commits = true;
    TaskGroup group(test.loop.executor());
    group.spawn(write(test, id, 0));  // that is being made
    co_await test.settle();
    for (std::size_t i = 1; i <= limits::default_queue; ++i) group.spawn(write(test, id, i));
    co_await test.settle();
    EXPECT_EQ((co_await test.runtime->session(id)).queued, limits::default_queue);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.runtime->change_state(id, {{"key", Json(6)}}, "me")),
              ErrorCode::queue_full);
    test.guarded.holds_commits = false;
    test.guarded.release.notify_all();
    co_await group.join();
    EXPECT_EQ((co_await test.runtime->state(id)).at("key"), std::to_string(limits::default_queue));
  });
}

TEST_F(BoundsTest, QueueBytesBoundsWhatWaitsForOneSession) {
  info.queue_limit = 100;
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    const std::size_t part = limits::queue_bytes / 8;
    for (int i = 0; i < 8; ++i) co_await test.start(id, "wait", Json(text_of_size(part)));
    try {
      co_await test.start(id, "run", 1);
      ADD_FAILURE() << "was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::queue_full);
      EXPECT_EQ(error.details().at("queue_bytes"), limits::queue_bytes);
    }
    const std::string other = co_await test.new_session();  // has a queue of its own
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_FALSE((co_await test.start(id, "run", 1))->is_final());  // one of the eight runs now
    co_await dynamic_cast<BoundsTest&>(test).end({id});
    EXPECT_EQ((co_await test.call(other, "run")).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, AllQueuesBytesBoundsWhatWaitsForAnySession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::size_t part = limits::queue_bytes / 8;
    const std::size_t sessions = limits::all_queues_bytes / limits::queue_bytes * 2;
    const std::string last = (co_await test.start("new", "wait"))->task.session_id;
    std::vector<std::string> ids;
    ids.reserve(sessions);
    const Json input(text_of_size(part));
    for (std::size_t i = 0; i < sessions; ++i) {
      ids.push_back((co_await test.start("new", "wait"))->task.session_id);
      for (int k = 0; k < 4; ++k) co_await test.start(ids.back(), "wait", input);
    }
    try {
      co_await test.start(last, "run", 1);
      ADD_FAILURE() << "was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::queue_full);
      EXPECT_EQ(error.details().at("all_queues_bytes"), limits::all_queues_bytes);
    }
    ids.push_back(last);
    co_await dynamic_cast<BoundsTest&>(test).end(ids);
    EXPECT_EQ(co_await RuntimeTest::code_of(test.call(ids.front(), "run")), ErrorCode::session_ended);
    EXPECT_EQ((co_await test.call(co_await test.new_session(), "run", input)).task.status, TaskStatus::completed);
  });
}

TEST_F(BoundsTest, AnInputOfAnySizeMayWaitWhereNothingElseDoes) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto running = co_await test.start("new", "wait");
    const std::string id = running->task.session_id;
    const auto waiting = co_await test.start(id, "run", Json(text_of_size(limits::json_bytes)));
    EXPECT_EQ(waiting->task.status, TaskStatus::queued);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(waiting);
    EXPECT_EQ(waiting->task.output.size(), limits::json_bytes);
  });
}

}  // namespace

}  // namespace sojourn::runtime
