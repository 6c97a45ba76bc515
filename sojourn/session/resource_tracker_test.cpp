#include "sojourn/session/resource_tracker.hpp"

#include <gmock/gmock.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sojourn/base/event.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"

namespace sojourn::session {

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class ResourceTrackerTest : public testing::Test {
 public:
  Resource resource(std::string id, std::function<Async<void>(ResourceTrackerTest&, std::string)> cleanup = cleans) {
    return {.id = id,
            .kind = "file",
            .cost = 3,
            .cleanup = [this, id, cleanup] { return cleanup(*this, id); },
            .deadline = 1s};
  }

  static Async<void> cleans(ResourceTrackerTest& test, std::string id) {
    test.cleaned.push_back(id);
    co_return;
  }
  static Async<void> fails(ResourceTrackerTest& test, std::string id) {
    test.cleaned.push_back(id);
    throw Error(ErrorCode::io_error, "no such file");
  }
  static Async<void> hangs(ResourceTrackerTest& test, std::string id) {
    test.cleaned.push_back(id);
    Event never;
    co_await never.wait();
  }

  // What cleanup() fails with; the clock goes on when nothing else does.
  std::optional<Error> clean_up() {
    std::optional<Error> failure;
    loop.run(run_cleanup(*this, failure));
    return failure;
  }

  static Async<void> run_cleanup(ResourceTrackerTest& test, std::optional<Error>& failure) {
    TaskGroup group(test.loop.executor());
    bool done = false;
    group.spawn(turn_clock(test, done));
    try {
      co_await test.tracker.cleanup();
    } catch (const Error& error) {
      failure = error;
    }
    done = true;
    co_await group.join();
  }
  static Async<void> turn_clock(ResourceTrackerTest& test, bool& done) {
    while (!done) {
      for (int i = 0; i < 20; ++i) co_await boost::asio::post(test.loop.executor(), boost::asio::use_awaitable);
      test.clock.advance(500ms);
    }
  }

  Loop loop;
  ManualClock clock;
  ResourceTracker tracker{loop.executor(), clock};
  std::vector<std::string> cleaned;
};

TEST_F(ResourceTrackerTest, CleansUpTheNewestFirst) {
  for (const char* id : {"a", "b", "c"}) tracker.add(resource(id));
  EXPECT_EQ(clean_up(), std::nullopt);
  EXPECT_THAT(cleaned, ElementsAre("c", "b", "a"));
  EXPECT_TRUE(tracker.open().empty());
}

TEST_F(ResourceTrackerTest, TriesAllAndListsWhatFailed) {
  tracker.add(resource("a"));
  tracker.add(resource("b", fails));
  tracker.add(resource("c", hangs));
  tracker.add(resource("d"));
  const std::optional<Error> failure = clean_up();
  EXPECT_THAT(cleaned, ElementsAre("d", "c", "b", "a"));
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code(), ErrorCode::cleanup_failed);
  const JsonArray& failures = failure->details().at("failures").as_array();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].at("id"), "c");
  EXPECT_THAT(std::string(failures[0].at("message").as_string()), HasSubstr("within 1000 ms"));
  EXPECT_EQ(failures[1].at("id"), "b");
  EXPECT_EQ(failures[1].at("message"), "no such file");
}

TEST_F(ResourceTrackerTest, ForgetsWhatWasReleased) {
  tracker.add(resource("a"));
  EXPECT_TRUE(tracker.release("a"));
  EXPECT_FALSE(tracker.release("a"));
  EXPECT_EQ(clean_up(), std::nullopt);
  EXPECT_TRUE(cleaned.empty());
}

TEST_F(ResourceTrackerTest, KnowsWhatIsOpenAndWhatItCosts) {
  tracker.add(resource("a"));
  tracker.add(resource("b"));
  EXPECT_EQ(tracker.open().size(), 2u);
  EXPECT_EQ(tracker.open().front().created_at, clock.now());
  EXPECT_EQ(tracker.use().at("file").count, 2u);
  EXPECT_EQ(tracker.use().at("file").cost, 6);
  clean_up();
}

TEST_F(ResourceTrackerTest, RefusesWhatItCannotKeep) {
  tracker.add(resource("a"));
  EXPECT_THROW(tracker.add(resource("a")), Error);
  EXPECT_THROW(tracker.add(resource("")), Error);
  EXPECT_THROW(tracker.add({.id = "b", .kind = "file"}), Error);
  EXPECT_EQ(tracker.open().size(), 1u);
  clean_up();
}

}  // namespace

}  // namespace sojourn::session
