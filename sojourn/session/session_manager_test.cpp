#include "sojourn/session/session_manager.hpp"

#include <gmock/gmock.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sojourn/base/ids.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/verify.hpp"

namespace sojourn::session {

namespace {

class SessionManagerTest : public testing::Test {
 public:
  void with_manager(Async<void> (*body)(SessionManagerTest&), std::size_t max_sessions = 10) {
    manager =
        std::make_unique<SessionManager>(loop.executor(), store, clock, random,
                                         SessionManager::Options{.max_sessions = max_sessions, .owner = "test"});
    loop.run(body(*this));
    loop.run(manager->close());
    manager.reset();
  }

  static Async<Json> increment(InSession in) {
    const std::int64_t next = in.session.get("n", 0).to_number<std::int64_t>() + 1;
    in.session.set("n", next);
    co_return next;
  }
  static Async<Json> fail(InSession in) {
    in.session.set("n", -1);
    throw Error(ErrorCode::app_error, "no");
  }

  static Async<void> mark(bool& flag) {
    flag = true;
    co_return;
  }
  static Async<Json> bracket(char c, std::string& order, Event& go_on) {
    order.append("<").append(1, c);
    co_await go_on.wait();
    order += '>';
    co_return nullptr;
  }
  static Async<void> append(SessionManager& manager, std::string id, char c, std::string& order, Event& go_on) {
    co_await manager.execute(id, [c, &order, &go_on](InSession) { return bracket(c, order, go_on); });
  }

  template <class T>
  static Async<ErrorCode> code_of(Async<T> action) {
    try {
      co_await std::move(action);
    } catch (const Error& error) {
      co_return error.code();
    }
    ADD_FAILURE() << "did not fail";
    co_return ErrorCode::internal_error;
  }

  Loop loop;
  ManualClock clock;
  SeededRandom random{5};
  store::MemoryStore store;
  std::unique_ptr<SessionManager> manager;
};

TEST_F(SessionManagerTest, RunsOperationsInASessionAndKeepsItsState) {
  with_manager([](SessionManagerTest& test) -> Async<void> {
    const std::string id = co_await test.manager->create({{"product", "A1"}});
    EXPECT_TRUE(is_session_id(id));
    EXPECT_EQ(co_await test.manager->execute(id, increment), Json(1));
    EXPECT_EQ(co_await test.manager->execute(id, increment), Json(2));
    EXPECT_EQ((co_await test.store.load(id))->state.at("n"), "2");
    EXPECT_TRUE((co_await store::verify(test.store, id)).ok());
  });
}

TEST_F(SessionManagerTest, AFailedOperationChangesNothing) {
  with_manager([](SessionManagerTest& test) -> Async<void> {
    const std::string id = co_await test.manager->create();
    co_await test.manager->execute(id, increment);
    EXPECT_EQ(co_await SessionManagerTest::code_of(test.manager->execute(id, fail)), ErrorCode::app_error);
    EXPECT_EQ(co_await test.manager->execute(id, increment), Json(2));
  });
}

TEST_F(SessionManagerTest, CountsActiveTotalAndPeak) {
  with_manager([](SessionManagerTest& test) -> Async<void> {
    const std::string first = co_await test.manager->create();
    co_await test.manager->create();
    co_await test.manager->end(first);
    co_await test.manager->create();
    const SessionStatistics statistics = test.manager->statistics();
    EXPECT_EQ(statistics.active, 2u);
    EXPECT_EQ(statistics.total, 3u);
    EXPECT_EQ(statistics.peak, 2u);
  });
}

TEST_F(SessionManagerTest, EndingCleansUpAndIsFinal) {
  with_manager([](SessionManagerTest& test) -> Async<void> {
    const std::string id = co_await test.manager->create();
    bool cleaned = false;
    co_await test.manager->execute(id, [&cleaned](InSession in) {
      in.resources.add({.id = "r", .kind = "thing", .cleanup = [&cleaned]() { return mark(cleaned); }});
      return increment(in);
    });
    co_await test.manager->end(id, "done");
    EXPECT_TRUE(cleaned);
    EXPECT_EQ(co_await SessionManagerTest::code_of(test.manager->execute(id, increment)),
              ErrorCode::session_not_found);
    EXPECT_EQ(co_await SessionManagerTest::code_of(test.manager->get_or_create(id)), ErrorCode::session_ended);
    const auto stored = co_await test.store.load(id);
    EXPECT_EQ(stored->record.head.status, store::SessionStatus::ended);
    EXPECT_EQ(stored->record.head.end_reason, "done");
  });
}

TEST_F(SessionManagerTest, GoesOnWithAStoredSession) {
  with_manager([](SessionManagerTest& test) -> Async<void> {
    co_await test.manager->get_or_create("my-session");
    co_await test.manager->execute("my-session", increment);
  });
  with_manager([](SessionManagerTest& test) -> Async<void> {
    co_await test.manager->get_or_create("my-session");
    EXPECT_EQ(co_await test.manager->execute("my-session", increment), Json(2));
  });
}

TEST_F(SessionManagerTest, RefusesSessionsPastItsLimit) {
  with_manager(
      [](SessionManagerTest& test) -> Async<void> {
        co_await test.manager->create();
        EXPECT_EQ(co_await SessionManagerTest::code_of(test.manager->create()), ErrorCode::too_many_sessions);
        EXPECT_EQ(co_await SessionManagerTest::code_of(test.manager->get_or_create("other")),
                  ErrorCode::too_many_sessions);
      },
      1);
}

TEST_F(SessionManagerTest, OperationsOfOneSessionRunOneAtATimeInOrder) {
  with_manager([](SessionManagerTest& test) -> Async<void> {
    const std::string id = co_await test.manager->create();
    TaskGroup group(test.loop.executor());
    std::string order;
    Event go_on;
    for (const char c : {'a', 'b', 'c'}) group.spawn(append(*test.manager, id, c, order, go_on));
    while (order != "<a><b><c>") {
      go_on.notify_all();
      co_await boost::asio::post(test.loop.executor(), boost::asio::use_awaitable);
    }
    co_await group.join();
  });
}

}  // namespace

}  // namespace sojourn::session
