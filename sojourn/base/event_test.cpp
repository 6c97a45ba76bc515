#include "sojourn/base/event.hpp"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>

#include "sojourn/base/async_mutex.hpp"
#include "sojourn/base/error.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/loop_end.hpp"
#include "sojourn/base/task_group.hpp"

namespace sojourn {
namespace {

// Lets all that is queued run, and what that queues.
Async<void> settle() {
  for (int i = 0; i < 20; ++i) co_await boost::asio::post(boost::asio::use_awaitable);
}

Async<void> wait_and_note(Event& event, std::string& notes, std::string name) {
  co_await event.wait();
  notes += name;
}

Async<void> wait_until_and_note(Event& event, Clock& clock, Instant deadline, std::string& notes) {
  const bool notified = co_await event.wait_until(clock, deadline);
  notes += notified ? "notified " : "late ";
}

class EventTest : public testing::Test {
 protected:
  // Runs `fact`, then waits for all it spawned.
  void run(Async<void> fact) { loop_.run(with_group(std::move(fact))); }

  Loop loop_;
  ManualClock clock_;
  TaskGroup group_{loop_.executor()};
  std::string notes_;

 private:
  Async<void> with_group(Async<void> fact) {
    co_await std::move(fact);
    co_await group_.join();
  }
};

class Waiting : public EventTest {
 public:
  Event event_;

  Async<void> all_wake() {
    group_.spawn(wait_and_note(event_, notes_, "a"));
    group_.spawn(wait_and_note(event_, notes_, "b"));
    co_await settle();
    EXPECT_EQ(notes_, "");
    event_.notify_all();
    EXPECT_EQ(notes_, "");
    co_await settle();
    EXPECT_EQ(notes_, "ab");
  }

  Async<void> notice_is_not_kept() {
    event_.notify_all();
    group_.spawn(wait_and_note(event_, notes_, "a"));
    co_await settle();
    EXPECT_EQ(notes_, "");
    event_.notify_all();
  }

  Async<void> notified_before_deadline() {
    group_.spawn(wait_until_and_note(event_, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    clock_.advance(Seconds(4));
    event_.notify_all();
    co_await settle();
    clock_.advance(Seconds(10));
    co_await settle();
    EXPECT_EQ(notes_, "notified ");
  }

  Async<void> late_at_deadline() {
    group_.spawn(wait_until_and_note(event_, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    clock_.advance(Seconds(5));
    co_await settle();
    EXPECT_EQ(notes_, "late ");
    event_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "late ");
  }

  Async<void> deadline_in_the_past() {
    EXPECT_FALSE(co_await event_.wait_until(clock_, clock_.instant() - Seconds(1)));
  }

  // The alarm and the notice meet: whichever is second must find nothing of the first.
  Async<void> notified_between_deadline_and_resumption() {
    group_.spawn(wait_until_and_note(event_, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    clock_.advance(Seconds(5));
    co_await boost::asio::post(boost::asio::use_awaitable);
    event_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "late ");
  }

  Async<void> deadline_between_notice_and_resumption() {
    group_.spawn(wait_until_and_note(event_, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    event_.notify_all();
    clock_.advance(Seconds(5));
    co_await settle();
    EXPECT_EQ(notes_, "notified ");
  }

  Async<void> cancelled() {
    group_.spawn(wait_and_note(event_, notes_, "a"));
    group_.spawn(wait_until_and_note(event_, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    group_.cancel();
    co_await group_.join();
    EXPECT_EQ(notes_, "");
    event_.notify_all();
    clock_.advance(Seconds(10));
    co_await settle();
    EXPECT_EQ(notes_, "");
  }

  Async<void> notified_between_cancel_and_resumption() {
    group_.spawn(wait_and_note(event_, notes_, "a"));
    co_await settle();
    group_.cancel();
    event_.notify_all();
    co_await group_.join();
    EXPECT_EQ(notes_, "");
  }

  Async<void> cancelled_between_notice_and_resumption() {
    group_.spawn(wait_and_note(event_, notes_, "a"));
    co_await settle();
    event_.notify_all();
    group_.cancel();
    co_await group_.join();
    EXPECT_EQ(notes_, "a");
  }

  Async<void> destroyed_before_resumption() {
    auto event = std::make_unique<Event>();
    group_.spawn(wait_and_note(*event, notes_, "a"));
    group_.spawn(wait_until_and_note(*event, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    event->notify_all();
    event.reset();
    co_await settle();
    EXPECT_EQ(notes_, "anotified ");
  }

  Async<void> late_after_destruction() {
    auto event = std::make_unique<Event>();
    group_.spawn(wait_until_and_note(*event, clock_, clock_.instant() + Seconds(5), notes_));
    co_await settle();
    clock_.advance(Seconds(5));
    co_await boost::asio::post(boost::asio::use_awaitable);
    event.reset();
    co_await settle();
    EXPECT_EQ(notes_, "late ");
  }

  Async<void> sleep() {
    const Instant start = clock_.instant();
    group_.spawn(note_after_sleep(start + Seconds(3)));
    co_await settle();
    clock_.advance(Seconds(2));
    co_await settle();
    EXPECT_EQ(notes_, "");
    clock_.advance(Seconds(1));
    co_await settle();
    EXPECT_EQ(notes_, "slept");
  }

 private:
  Async<void> note_after_sleep(Instant when) {
    co_await sleep_until(clock_, when);
    notes_ += "slept";
  }
};

TEST_F(Waiting, EndsForAllAtANotice) {
  run(all_wake());
}
TEST_F(Waiting, EndsOnlyAtANoticeAfterItsStart) {
  run(notice_is_not_kept());
}
TEST_F(Waiting, TellsANoticeBeforeTheDeadline) {
  run(notified_before_deadline());
}
TEST_F(Waiting, TellsThatTheDeadlineCameFirst) {
  run(late_at_deadline());
}
TEST_F(Waiting, EndsAtOnceForADeadlineInThePast) {
  run(deadline_in_the_past());
}
TEST_F(Waiting, StaysLateWhenNotifiedBeforeItResumes) {
  run(notified_between_deadline_and_resumption());
}
TEST_F(Waiting, StaysNotifiedWhenTheDeadlinePassesBeforeItResumes) {
  run(deadline_between_notice_and_resumption());
}
TEST_F(Waiting, EndsWhenCancelled) {
  run(cancelled());
}
TEST_F(Waiting, StaysCancelledWhenNotifiedBeforeItResumes) {
  run(notified_between_cancel_and_resumption());
}
TEST_F(Waiting, StaysNotifiedWhenCancelledBeforeItResumes) {
  run(cancelled_between_notice_and_resumption());
}
TEST_F(Waiting, ResumesThoughTheEventIsDestroyedAfterItsNotice) {
  run(destroyed_before_resumption());
}
TEST_F(Waiting, ResumesThoughTheEventIsDestroyedAfterItsDeadline) {
  run(late_after_destruction());
}
TEST_F(Waiting, OfASleeperEndsAtItsTime) {
  run(sleep());
}

Async<void> wait_holding(Event& event, std::shared_ptr<int>) {
  co_await event.wait();
}

// Waits for another that waits, with all that is between them on its own frame.
Async<void> wait_with_another(std::shared_ptr<TaskGroup> in, std::shared_ptr<int> held) {
  Event event;
  TaskGroup group(in->executor());
  group.spawn(wait_holding(event, held));
  co_await group.join();
}

Async<void> leave_waiting(std::shared_ptr<int> held, Executor executor) {
  const auto group = std::make_shared<TaskGroup>(std::move(executor));  // shared with what it runs
  group->spawn(wait_with_another(group, std::move(held)));
  co_await settle();
}

// A coroutine that waits was held by nobody but itself, and stayed for ever.
TEST(EventOfALoop, WhatStillWaitsGoesWithTheLoop) {
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> seen = held;
  {
    Loop loop;
    loop.run(leave_waiting(std::move(held), loop.executor()));
    EXPECT_FALSE(seen.expired());
  }
  EXPECT_TRUE(seen.expired());
}

struct AsksAtItsEnd {
  explicit AsksAtItsEnd(Executor of) : executor(std::move(of)) {}
  ~AsksAtItsEnd() { EXPECT_TRUE(is_ending(executor)); }
  AsksAtItsEnd(const AsksAtItsEnd&) = delete;
  AsksAtItsEnd& operator=(const AsksAtItsEnd&) = delete;
  Executor executor;
};

Async<void> wait_with(std::unique_ptr<AsksAtItsEnd>, std::unique_ptr<Event> event) {
  co_await event->wait();
}

TEST(EventOfALoop, TheEndOfALoopIsNotTakenForThatOfTheNextInItsPlace) {
  std::optional<boost::asio::io_context> context;
  for (int round = 0; round < 2; ++round) {
    context.emplace();
    EXPECT_FALSE(is_ending(context->get_executor()));
    boost::asio::co_spawn(
        *context, wait_with(std::make_unique<AsksAtItsEnd>(context->get_executor()), std::make_unique<Event>()),
        [](const std::exception_ptr&) {});
    context->poll();
    context.reset();
  }
}

class CompletionTest : public EventTest {
 public:
  Async<void> note_value(Completion<int>& completion) {
    try {
      notes_ += std::to_string(co_await completion.wait()) + " ";
    } catch (const Error& error) {
      notes_ += error.message() + " ";
    }
  }
  Async<void> note_value_until(Completion<int>& completion, Instant deadline) {
    const std::optional<int> value = co_await completion.wait_until(clock_, deadline);
    notes_ += value ? std::to_string(*value) + " " : "nothing ";
  }

  Async<void> many() {
    Completion<int> completion;
    for (int i = 0; i < 3; ++i) group_.spawn(note_value(completion));
    co_await settle();
    completion.set(7);
    co_await settle();
    EXPECT_EQ(notes_, "7 7 7 ");
    EXPECT_EQ(co_await completion.wait(), 7);
  }

  Async<void> first_counts() {
    Completion<int> completion;
    completion.set(1);
    completion.set(2);
    completion.fail(std::make_exception_ptr(Error(ErrorCode::conflict, "late")));
    EXPECT_EQ(co_await completion.wait(), 1);
  }

  Async<void> failure() {
    Completion<int> completion;
    group_.spawn(note_value(completion));
    co_await settle();
    completion.fail(std::make_exception_ptr(Error(ErrorCode::conflict, "broken")));
    completion.set(1);
    co_await settle();
    EXPECT_EQ(notes_, "broken ");
  }

  Async<void> deadline() {
    Completion<int> completion;
    group_.spawn(note_value_until(completion, clock_.instant() + Seconds(1)));
    group_.spawn(note_value_until(completion, clock_.instant() + Seconds(3)));
    co_await settle();
    clock_.advance(Seconds(2));
    co_await settle();
    completion.set(7);
    co_await settle();
    EXPECT_EQ(notes_, "nothing 7 ");
  }

  Async<void> destroyed() {
    auto completion = std::make_unique<Completion<int>>();
    group_.spawn(note_value(*completion));
    group_.spawn(note_value_until(*completion, clock_.instant() + Seconds(1)));
    co_await settle();
    completion->set(7);
    completion.reset();
    co_await settle();
    EXPECT_EQ(notes_, "7 7 ");
  }
};

TEST_F(CompletionTest, GivesItsValueToAllWhoWait) {
  run(many());
}
TEST_F(CompletionTest, KeepsTheFirstResult) {
  run(first_counts());
}
TEST_F(CompletionTest, ThrowsItsErrorToThoseWhoWait) {
  run(failure());
}
TEST_F(CompletionTest, GivesNothingAtTheDeadline) {
  run(deadline());
}
TEST_F(CompletionTest, MayBeDestroyedOnceItIsSet) {
  run(destroyed());
}

class AsyncMutexTest : public EventTest {
 public:
  AsyncMutex mutex_;
  Event go_on_;

  Async<void> take_and_note(std::string name) {
    const AsyncMutex::Turn turn = co_await mutex_.take();
    notes_ += name;
    co_await go_on_.wait();
  }

  Async<void> in_turn() {
    for (const char* name : {"a", "b", "c"}) group_.spawn(take_and_note(name));
    co_await settle();
    EXPECT_EQ(notes_, "a");
    go_on_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "ab");
    go_on_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "abc");
    go_on_.notify_all();
  }

  Async<void> cancelled_in_the_queue() {
    TaskGroup impatient(loop_.executor());
    group_.spawn(take_and_note("a"));
    co_await settle();
    impatient.spawn(take_and_note("x"));
    co_await settle();
    group_.spawn(take_and_note("b"));
    co_await settle();
    impatient.cancel();
    co_await impatient.join();
    go_on_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "ab");
    go_on_.notify_all();
  }

  Async<void> try_until_and_note(Instant deadline, std::string name) {
    const auto turn = co_await mutex_.take_until(clock_, deadline);
    notes_ += turn ? name : "late ";
    if (turn) co_await go_on_.wait();
  }

  Async<void> late_in_the_queue() {
    const Instant deadline = clock_.instant() + Seconds(5);
    group_.spawn(try_until_and_note(deadline, "a"));
    co_await settle();
    group_.spawn(try_until_and_note(deadline, "x"));
    group_.spawn(take_and_note("b"));
    co_await settle();
    clock_.advance(Seconds(5));
    co_await settle();
    EXPECT_EQ(notes_, "alate ");
    go_on_.notify_all();
    co_await settle();
    EXPECT_EQ(notes_, "alate b");
    go_on_.notify_all();
  }

  Async<void> turn_at_the_deadline() {
    std::optional<AsyncMutex::Turn> turn(co_await mutex_.take());
    group_.spawn(try_until_and_note(clock_.instant() + Seconds(5), "x"));
    co_await settle();
    clock_.advance(Seconds(5));
    co_await boost::asio::post(boost::asio::use_awaitable);
    turn.reset();  // given to one that was woken already, and has not resumed yet
    co_await settle();
    EXPECT_EQ(notes_, "x");
    go_on_.notify_all();
    group_.spawn(take_and_note("b"));
    co_await settle();
    EXPECT_EQ(notes_, "xb");
    go_on_.notify_all();
  }

  Async<void> cancelled_as_its_turn_comes() {
    TaskGroup impatient(loop_.executor());
    std::optional<AsyncMutex::Turn> turn(co_await mutex_.take());
    impatient.spawn(take_and_note("x"));
    co_await settle();
    turn.reset();
    impatient.cancel();
    co_await impatient.join();
    group_.spawn(take_and_note("b"));
    co_await settle();
    EXPECT_TRUE(notes_.ends_with("b")) << notes_;
    go_on_.notify_all();
  }
};

TEST_F(AsyncMutexTest, GivesTurnsInTheOrderOfAsking) {
  run(in_turn());
}
TEST_F(AsyncMutexTest, PassesOverWhoWasCancelled) {
  run(cancelled_in_the_queue());
}
TEST_F(AsyncMutexTest, PassesOverWhoseDeadlineCame) {
  run(late_in_the_queue());
}
TEST_F(AsyncMutexTest, GivesTheTurnThatComesAtTheDeadline) {
  run(turn_at_the_deadline());
}
TEST_F(AsyncMutexTest, GoesOnWhenItsHolderIsCancelledAsItsTurnComes) {
  run(cancelled_as_its_turn_comes());
}

}  // namespace
}  // namespace sojourn
