#include "sojourn/base/task_group.hpp"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"

namespace sojourn {
namespace {

Async<void> settle() {
  for (int i = 0; i < 20; ++i) co_await boost::asio::post(boost::asio::use_awaitable);
}

Async<void> count_up(int& count) {
  ++count;
  co_return;
}

Async<void> fail_with(std::string message) {
  throw Error(ErrorCode::conflict, std::move(message));
  co_return;
}

Async<void> count_when(Event& event, int& count) {
  co_await event.wait();
  ++count;
}

class Note {
 public:
  explicit Note(std::string& notes, std::string text) : notes_(notes), text_(std::move(text)) {}
  ~Note() { notes_ += text_; }

 private:
  std::string& notes_;
  std::string text_;
};

Async<void> wait_and_note_the_end(Event& event, std::string& notes) {
  const Note note(notes, "ended ");
  co_await event.wait();
}

// Ends only when it likes, whatever it is asked.
Async<void> end_late(Event& event, int& count) {
  try {
    co_await event.wait();
  } catch (const boost::system::system_error&) {
    count += 10;
  }
  ++count;
}

Async<std::string> error_of_join(TaskGroup& group) {
  try {
    co_await group.join();
  } catch (const Error& error) {
    co_return error.message();
  }
  co_return "none";
}

Async<void> runs_from_the_queue(Loop& loop) {
  TaskGroup group(loop.executor());
  int count = 0;
  group.spawn(count_up(count));
  EXPECT_EQ(count, 0);
  EXPECT_EQ(group.size(), 1u);
  co_await group.join();
  EXPECT_EQ(count, 1);
  EXPECT_EQ(group.size(), 0u);
}

TEST(TaskGroup, RunsWorkFromTheQueue) {
  Loop loop;
  loop.run(runs_from_the_queue(loop));
}

Async<void> keeps_first_error(Loop& loop) {
  TaskGroup group(loop.executor());
  int count = 0;
  group.spawn(fail_with("first"));
  group.spawn(fail_with("second"));
  group.spawn(count_up(count));
  EXPECT_EQ(co_await error_of_join(group), "first");
  EXPECT_EQ(count, 1);
  EXPECT_EQ(co_await error_of_join(group), "none");
}

TEST(TaskGroup, ThrowsTheFirstErrorOnce) {
  Loop loop;
  loop.run(keeps_first_error(loop));
}

Async<void> waits_for_all(Loop& loop) {
  TaskGroup group(loop.executor());
  TaskGroup joiners(loop.executor());
  Event event;
  int count = 0;
  group.spawn(count_when(event, count));
  joiners.spawn(group.join());
  co_await settle();
  EXPECT_EQ(joiners.size(), 1u);
  group.spawn(count_when(event, count));
  co_await settle();
  event.notify_all();
  co_await joiners.join();
  EXPECT_EQ(count, 2);
}

TEST(TaskGroup, WaitsAlsoForWorkThatIsSpawnedMeanwhile) {
  Loop loop;
  loop.run(waits_for_all(loop));
}

Async<void> cancels(Loop& loop) {
  TaskGroup group(loop.executor());
  Event event;
  std::string notes;
  for (int i = 0; i < 3; ++i) group.spawn(wait_and_note_the_end(event, notes));
  co_await settle();
  group.cancel();
  EXPECT_EQ(co_await error_of_join(group), "none");
  EXPECT_EQ(notes, "ended ended ended ");
}

TEST(TaskGroup, EndsCancelledWorkWithoutCallingItAFailure) {
  Loop loop;
  loop.run(cancels(loop));
}

Async<void> cancels_before_start(Loop& loop) {
  TaskGroup group(loop.executor());
  int count = 0;
  group.spawn(count_up(count));
  group.cancel();
  co_await group.join();
  EXPECT_EQ(count, 0);
}

TEST(TaskGroup, NeverBeginsWorkThatIsCancelledBefore) {
  Loop loop;
  loop.run(cancels_before_start(loop));
}

Async<void> spawns_after_cancel(Loop& loop) {
  TaskGroup group(loop.executor());
  int count = 0;
  group.cancel();
  group.spawn(count_up(count));
  co_await group.join();
  EXPECT_EQ(count, 1);
}

TEST(TaskGroup, DoesNotCancelWhatIsSpawnedLater) {
  Loop loop;
  loop.run(spawns_after_cancel(loop));
}

Async<void> waits_for_stubborn(Loop& loop) {
  TaskGroup group(loop.executor());
  Event event;
  int count = 0;
  group.spawn(end_late(event, count));
  co_await settle();
  group.cancel();
  co_await group.join();
  EXPECT_EQ(count, 11);
}

TEST(TaskGroup, LetsCancelledWorkCleanUp) {
  Loop loop;
  loop.run(waits_for_stubborn(loop));
}

Async<void> destroyed_by_last(Loop& loop) {
  auto group = std::make_unique<TaskGroup>(loop.executor());
  TaskGroup joiners(loop.executor());
  Event event;
  int count = 0;
  group->spawn(count_when(event, count));
  joiners.spawn(group->join());
  co_await settle();
  event.notify_all();
  while (group->size() > 0) co_await boost::asio::post(boost::asio::use_awaitable);
  // The join has been notified and has not resumed yet.
  group.reset();
  co_await joiners.join();
  EXPECT_EQ(count, 1);
}

TEST(TaskGroup, MayBeDestroyedBeforeItsJoinResumes) {
  Loop loop;
  loop.run(destroyed_by_last(loop));
}

}  // namespace
}  // namespace sojourn
