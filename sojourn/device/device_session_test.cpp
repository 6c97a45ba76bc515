#include "sojourn/device/device_session.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/session_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::ElementsAre;
using testing::SizeIs;

class DeviceSessionTest : public SessionBench {
 public:
  // On the real micro:bit.
  void with_manager(Body body, DeviceSessionManager::Options options = {}) {
    SessionBench::with_manager(microbit(), body, std::move(options));
  }

  static Async<void> note(std::vector<std::string>& order, std::string name) {
    order.push_back(std::move(name));
    co_return;
  }
  static Async<void> fail() {
    throw Error(ErrorCode::app_error, "stuck");
    co_return;
  }
};

const Function blink{"blink", "def blink(n):\n  return n * 2\n", {"blink.py", 1}};
const std::vector<Value> three{Value{std::int64_t(3)}};
const Value six{std::int64_t(6)};

TEST_F(DeviceSessionTest, LeavesNothingOnTheBoard) {
  with_manager([](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    EXPECT_EQ(manager.state(), DeviceSessionState::active);
    EXPECT_EQ(manager.current_session_id(), session->id());
    EXPECT_EQ(manager.capabilities()->platform, "microbit");
    EXPECT_EQ(co_await session->call(blink, three, bench.soon()), six);
    EXPECT_EQ(session->resource_stats().deployed_methods, 1u);
    EXPECT_TRUE(board.is_deployed(blink));
    session->state().set("shots", 3);
    EXPECT_EQ(session->state().get("shots"), Json(3));
    co_await manager.end(session->id());
    EXPECT_FALSE(session->is_active());
    EXPECT_FALSE(board.is_deployed(blink));
    EXPECT_EQ(co_await board.eval("'blink' in globals()", bench.soon()), Value{false});
    const Error over = co_await error_of(session->eval("1", bench.soon()));
    EXPECT_EQ(over.code(), ErrorCode::session_ended);
    EXPECT_EQ(manager.stats().active_session_count, 0u);
    EXPECT_EQ(manager.stats().total_session_count, 1u);
    EXPECT_EQ(manager.current_session_id(), std::nullopt);
  });
}

TEST_F(DeviceSessionTest, CleansUpNewestFirstAndTellsEveryFailure) {
  with_manager([](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    std::vector<std::string> order;
    session->add_resource(
        {.id = "first", .kind = "timer", .cost = 50, .cleanup = [&] { return note(order, "first"); }});
    session->add_resource({.id = "broken", .kind = "timer", .cost = 7, .cleanup = [] { return fail(); }});
    session->add_resource({.id = "last", .kind = "file", .cleanup = [&] { return note(order, "last"); }});
    session->add_teardown({.name = "late", .code = "1/0", .order = 2});
    session->add_teardown({.name = "early", .code = "seen = 'early'", .order = 1});
    session->add_teardown({.name = "careless", .code = "1/0", .order = 3, .ignore_errors = true});
    EXPECT_EQ(session->resource_stats().total_resource_cost, 57);
    EXPECT_EQ(session->resource_stats().resources_by_type.at("timer"), 2u);
    co_await session->exec("pass", bench.soon());
    std::string failures;
    try {
      co_await manager.end(session->id());
    } catch (const ResourceCleanupError& error) {
      for (const Json& failure : error.failures()) failures += std::string(failure.at("id").as_string()) + ' ';
    }
    EXPECT_EQ(failures, "late broken ");
    EXPECT_THAT(order, ElementsAre("last", "first"));
    EXPECT_EQ(co_await board.eval("seen", bench.soon()), Value{std::string("early")});
  });
}

TEST_F(DeviceSessionTest, SetsUpOnceAndAgainAfterTheBoardStartedAnew) {
  with_manager([](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    session->add_setup({.name = "second", .code = "steps += 'b'", .order = 2});
    session->add_setup({.name = "first", .code = "steps = 'a'", .order = 1});
    EXPECT_EQ(co_await session->eval("steps", bench.soon()), Value{std::string("ab")});
    EXPECT_EQ(co_await session->call(blink, three, bench.soon()), six);
    EXPECT_THROW(session->add_setup({.name = "late"}), SessionError);
    co_await session->exec("steps += 'c'", bench.soon());
    co_await board.restart(bench.soon());
    EXPECT_EQ(co_await session->eval("steps", bench.soon()), Value{std::string("ab")});
    EXPECT_EQ(co_await session->call(blink, three, bench.soon()), six);
  });
}

TEST_F(DeviceSessionTest, IsOneOnABoardAndSoManyInAll) {
  with_manager(
      [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
        const auto session = co_await manager.create(board);
        const Error leased = co_await error_of(manager.create(board));
        EXPECT_EQ(leased.code(), ErrorCode::worker_leased);
        EXPECT_EQ(co_await manager.get_or_create(board), session);
        Board other(bench.loop.executor(), bench.clock, bench.random, parse_address(microbit().address));
        const Error full = co_await error_of(manager.create(other));
        EXPECT_EQ(full.code(), ErrorCode::too_many_sessions);
        co_await other.close();
      },
      {.max_concurrent_sessions = 1});
}

TEST_F(DeviceSessionTest, EndsWithTheOperationThatItWasBegunFor) {
  with_manager([](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    struct Operation {
      static Async<std::string> run(SessionBench& test, DeviceSession& session) {
        co_return co_await session.exec("print('in session')", test.soon());
      }
      static Async<std::string> fail(DeviceSession& session) {
        session.add_resource({.id = "x", .cleanup = [] { return DeviceSessionTest::fail(); }});
        throw Error(ErrorCode::app_error, "operation");
        co_return "";
      }
    };
    const std::function<Async<std::string>(DeviceSession&)> run = [&](DeviceSession& session) {
      return Operation::run(bench, session);
    };
    EXPECT_EQ(co_await manager.execute_in_session(board, run), "in session\n");
    EXPECT_EQ(manager.stats().active_session_count, 0u);
    const std::function<Async<std::string>(DeviceSession&)> fail = Operation::fail;
    const Error error = co_await error_of(manager.execute_in_session(board, fail));
    EXPECT_EQ(error.message(), "operation") << "the clean-up's failure does not hide it";
    const auto session = co_await manager.create(board);
    EXPECT_EQ(co_await manager.execute_in_session(board, run), "in session\n");
    EXPECT_TRUE(session->is_active());
  });
}

TEST_F(DeviceSessionTest, GoesThroughItsStates) {
  with_manager([](SessionBench&, Board& board, DeviceSessionManager& manager) -> Async<void> {
    std::vector<DeviceSessionState> states{manager.state()};
    manager.on_state_changed([&](DeviceSessionState state) { states.push_back(state); });
    co_await manager.create(board);
    co_await manager.close();
    using enum DeviceSessionState;
    EXPECT_THAT(states, ElementsAre(inactive, active, shutdown, disposed));
    const Error error = co_await error_of(manager.create(board));
    EXPECT_EQ(error.code(), ErrorCode::unavailable);
    manager.on_state_changed(nullptr);
  });
}

TEST_F(DeviceSessionTest, IsOverAtOnceInAnEmergency) {
  with_manager([](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    co_await session->call(blink, three, bench.soon());
    const auto runs = board.link().statistics().runs;
    manager.dispose();
    EXPECT_FALSE(session->is_active());
    EXPECT_EQ(manager.state(), DeviceSessionState::disposed);
    EXPECT_EQ(board.link().statistics().runs, runs);
  });
}

TEST_F(DeviceSessionTest, FallsBackWhereTheBoardCannotBeAsked) {
  DeviceSessionManager::Options options{.capability_timeout = Seconds(1), .fallback_capabilities = true};
  SessionBench::with_manager(
      {"mute", "subprocess:sleep 1000", "/", ""},
      [](SessionBench&, Board& board, DeviceSessionManager& manager) -> Async<void> {
        const auto session = co_await manager.create(board);
        EXPECT_EQ(session->capabilities(), fallback_capabilities());
      },
      options);
}

TEST(WithRetry, ReturnsWhatSucceedsAtLast) {
  Loop loop;
  SystemClock clock;
  int runs = 0;
  const std::function<Async<int>()> third = [&]() -> Async<int> {
    struct Third {
      static Async<int> run(int& count) {
        if (++count < 3) throw Error(ErrorCode::unavailable, "not yet");
        co_return count;
      }
    };
    return Third::run(runs);
  };
  struct Test {
    static Async<void> run(Clock& time, const std::function<Async<int>()>& operation, int& count) {
      EXPECT_EQ(co_await with_retry(time, {3, Milliseconds(1)}, operation), 3);
      count = 0;
      try {
        co_await with_retry(time, {2, Milliseconds(1)}, operation);
        ADD_FAILURE();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::unavailable);
      }
      EXPECT_EQ(count, 2);
    }
  };
  loop.run(Test::run(clock, third, runs));
}

}  // namespace

}  // namespace sojourn::device
