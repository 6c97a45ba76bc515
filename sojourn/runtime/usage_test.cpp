#include <gmock/gmock.h>

#include "sojourn/runtime/runtime_fixture_test.hpp"

namespace sojourn::runtime {
namespace {

using testing::HasSubstr;

class UsageTest : public RuntimeTest {
 public:
  Async<store::SessionHead> stored(std::string id) { co_return (co_await store.load(std::move(id)))->record.head; }

  Async<std::string> last_event(std::string id) {
    const store::SessionHead head = co_await stored(id);
    co_return (co_await store.events(id, head.chain.seq, 1)).front().body;
  }
};

TEST_F(UsageTest, CountsTheTimeAndBytesOfEachCallWithItsCommit) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<UsageTest&>(base);
    const std::string id = co_await test.new_session();  // null in, null out
    const auto call = co_await test.start(id, "wait", "abc");
    co_await test.pass(Seconds(3));
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    const store::SessionHead head = co_await test.stored(id);
    EXPECT_EQ(head.usage.call_time, Seconds(3));
    EXPECT_EQ(head.usage.bytes_in, std::string_view("null\"abc\"").size());
    EXPECT_EQ(head.usage.bytes_out, std::string_view("null\"released\"").size());
    EXPECT_EQ(head.usage.worker_time, Seconds(0));  // it is counted when it goes
  });
}

TEST_F(UsageTest, CountsAWorkerWhenItGoesAndTellsTheJournalAtTheEnd) {
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<UsageTest&>(base);
    test.script.usage = {.cpu_time = Microseconds(7'000), .peak_memory = 4'096};
    const std::string id = co_await test.new_session();
    co_await test.pass(Seconds(20));
    co_await test.runtime->end_session(id, "someone");
    const store::SessionHead head = co_await test.stored(id);
    EXPECT_EQ(head.usage.worker_time, Seconds(20));
    EXPECT_EQ(head.usage.cpu_time, Microseconds(7'000));
    EXPECT_EQ(head.usage.peak_memory, 4'096U);
    EXPECT_THAT(co_await test.last_event(id), HasSubstr("\"usage\":" + store::usage_text(head)));
  });
}

TEST_F(UsageTest, TheLastEventCountsACallThatAFailedCommitHadLeftOpen) {
  info.recover = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<UsageTest&>(base);
    const std::string id = co_await test.new_session();
    const auto call = co_await test.start(id, "wait", "abc");
    test.guarded.refuses = [](const store::Commit&) { return true; };
    test.script.release.notify_all();
    co_await LiveCall::wait_final(call);
    test.guarded.refuses = nullptr;
    co_await test.runtime->end_session(id, "someone");
    const store::SessionHead head = co_await test.stored(id);
    EXPECT_EQ(head.call_count, 2U);
    EXPECT_EQ(head.usage.bytes_in, std::string_view("null\"abc\"").size());
    EXPECT_THAT(co_await test.last_event(id), HasSubstr("\"usage\":" + store::usage_text(head)));
  });
}

TEST_F(UsageTest, AddsUpOverSeveralWorkers) {
  info.recover = true;
  info.sleep_after = Seconds(10);
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<UsageTest&>(base);
    test.script.usage = {.cpu_time = Microseconds(100), .peak_memory = 5};
    const std::string id = co_await test.new_session();
    co_await test.pass(Seconds(10));
    test.script.usage.peak_memory = 3;
    co_await test.call(id, "run");
    co_await test.pass(Seconds(10));
    const store::SessionHead head = co_await test.stored(id);
    EXPECT_EQ(head.usage.worker_time, Seconds(20));
    EXPECT_EQ(head.usage.cpu_time, Microseconds(200));
    EXPECT_EQ(head.usage.peak_memory, 5U);
  });
}

TEST_F(UsageTest, WhatACommitCouldNotTakeAlongGoesWithTheNext) {
  info.recover = true;
  with_runtime([](RuntimeTest& base) -> Async<void> {
    auto& test = static_cast<UsageTest&>(base);
    const std::string id = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.call(id, "run", "abc");
    test.guarded.refuses = nullptr;
    co_await test.call(id, "run", "d");
    EXPECT_EQ((co_await test.stored(id)).usage.bytes_in, std::string_view("null\"abc\"\"d\"").size());
  });
}

}  // namespace
}  // namespace sojourn::runtime
