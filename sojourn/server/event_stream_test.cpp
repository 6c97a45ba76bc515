#include "sojourn/server/event_stream.hpp"

#include <gmock/gmock.h>

#include "sojourn/base/task_group.hpp"
#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using namespace std::chrono_literals;
using runtime::RuntimeTest;
using testing::HasSubstr;
using testing::Not;

class EventStreamTest : public ApiTest {};

Async<void> follow_until_stopped(RuntimeTest& test, JournalFollowers& followers, std::string id, EventStream stream,
                                 Notebook& notebook) {
  try {
    co_await stream_events(*test.runtime, test.store, followers, test.clock, id, std::move(stream), notebook);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unavailable) << error.message();
  }
}

TEST_F(EventStreamTest, ABeatComesAlsoBetweenEventsThatAreNotWanted) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await ApiTest::new_session_id(test);
    JournalFollowers followers;
    Notebook notebook;
    TaskGroup group(test.loop.executor());
    group.spawn(follow_until_stopped(test, followers, id,
                                     {.filter = {.types = {"nothing.*"}, .since = {}, .before = {}},
                                      .times = {.heartbeat = Seconds(15), .linger = Milliseconds(0)}},
                                     notebook));
    co_await test.settle();
    for (int i = 0; i < 2; ++i) {
      EXPECT_THAT(notebook.response.body, Not(HasSubstr("heartbeat")));
      co_await test.pass(8s);
      co_await test.runtime->keepalive(id, "me");
      followers.wake(id);
      co_await test.settle();
    }
    EXPECT_EQ(notebook.response.body, "{\"type\":\"heartbeat\"}\n");
    followers.close();
    co_await group.join();
  });
}

TEST(EventFilterTest, TakesNoEventThatCannotBeRead) {
  const EventFilter all;
  const EventFilter typed{.types = {"log"}, .since = {}, .before = {}};
  const EventFilter timed{.types = {}, .since = Time(), .before = {}};
  for (const std::string body : {"{", "[]", R"({"type":7,"time":"soon"})"}) {
    const store::Event event{.seq = 1, .body = body, .hash = {}};
    EXPECT_TRUE(all.takes(event)) << body;
    EXPECT_FALSE(typed.takes(event)) << body;
    EXPECT_FALSE(timed.takes(event)) << body;
  }
}

}  // namespace

}  // namespace sojourn::server
