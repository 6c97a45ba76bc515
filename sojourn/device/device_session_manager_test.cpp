#include "sojourn/device/device_session_manager.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::ElementsAre;

class DeviceSessionManagerTest : public BoardBench {
 public:
  static Async<void> hang() {
    Event never;
    co_await never.wait();
  }
  static Async<void> note(bool& done) {
    done = true;
    co_return;
  }

  // Lets everything run that can.
  static Async<void> settle(BoardBench& bench) {
    for (int i = 0; i < 20; ++i) co_await sleep_until(bench.clock, bench.clock.instant());
  }
};

TEST_F(DeviceSessionManagerTest, HasTheDefaultsOfTheSeed) {
  const SessionManagementOptions options;
  EXPECT_EQ(options.default_session_timeout, std::chrono::minutes(30));
  EXPECT_EQ(options.max_concurrent_sessions, 10u);
  EXPECT_TRUE(options.enable_session_metrics);
  EXPECT_TRUE(options.enable_resource_tracking);
  EXPECT_EQ(options.resource_cleanup_timeout, Seconds(30));
}

// As the first would answer for the second where sessions did not belong to a device.
TEST_F(DeviceSessionManagerTest, GivesASecondDeviceASessionOfItsOwn) {
  require(webassembly());
  if (IsSkipped()) return;
  with_board(microbit(), [](BoardBench& bench, Board& first) -> Async<void> {
    Log quiet = Log::silent();
    DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, quiet);
    Board second(bench.loop.executor(), bench.clock, bench.random, parse_address(webassembly().address));
    const auto one = co_await manager.get_or_create(first);
    const auto other = co_await manager.get_or_create(second);
    EXPECT_NE(one->id(), other->id());
    EXPECT_EQ(one->capabilities().platform, "microbit");
    EXPECT_EQ(other->capabilities().platform, "webassembly");
    EXPECT_EQ(manager.capabilities()->platform, "webassembly") << "the last that was used";
    EXPECT_EQ(co_await manager.get_or_create(first), one);
    EXPECT_EQ(manager.current_session_id(), one->id());
    // One that heeds nothing does not stop the other.
    TaskGroup group(bench.loop.executor());
    struct Loop {
      static Async<void> run(BoardBench& test, DeviceSession& session) {
        co_await error_of(session.exec("while True: pass", test.in(Seconds(2))));
      }
    };
    group.spawn(Loop::run(bench, *other));
    EXPECT_EQ(co_await one->exec("print(1)", bench.soon()), "1\n");
    EXPECT_EQ(group.size(), 1u);
    co_await group.join();
    co_await manager.close();
    EXPECT_EQ(manager.stats().max_session_count, 2u);
    co_await second.close();
  });
}

TEST_F(DeviceSessionManagerTest, IsDisposedOfFromAnyState) {
  struct Body {
    static Async<void> run(BoardBench& bench) {
      using enum DeviceSessionState;
      Log quiet = Log::silent();
      DeviceSessionManager unused(bench.loop.executor(), bench.clock, bench.random, quiet);
      std::vector<DeviceSessionState> states{unused.state()};
      unused.on_state_changed([&](DeviceSessionState state) { states.push_back(state); });
      unused.dispose();
      unused.dispose();
      EXPECT_THAT(states, ElementsAre(inactive, disposed));
      co_await unused.close();
      EXPECT_EQ(unused.state(), disposed);

      DeviceSessionManager closed(bench.loop.executor(), bench.clock, bench.random, quiet);
      states = {closed.state()};
      closed.on_state_changed([&](DeviceSessionState state) { states.push_back(state); });
      co_await closed.close();
      co_await closed.close();
      EXPECT_THAT(states, ElementsAre(inactive, shutdown, disposed));
    }
  };
  loop.run(Body::run(*this));
}

// A session that has not spoken to its board has nothing there to clean up but what its user says.
TEST_F(DeviceSessionManagerTest, GivesACleanUpThirtySecondsAndThenGoesOn) {
  struct Body {
    static Async<void> run(BoardBench& bench) {
      ManualClock time;
      Board board(bench.loop.executor(), time, bench.random, parse_address("unix:/nowhere/board.sock"));
      const SessionManagementOptions options;
      DeviceSession session("s1", board, fallback_capabilities(), bench.loop.executor(), time,
                            {.cleanup_timeout = options.resource_cleanup_timeout});
      bool cleaned = false;
      session.add_resource({.id = "oldest", .cleanup = [&] { return note(cleaned); }, .deadline = Seconds(1000)});
      session.add_resource({.id = "stuck", .cleanup = hang, .deadline = Seconds(1000)});
      std::string failed;
      struct End {
        static Async<void> run(DeviceSession& of, std::string& failures) {
          try {
            co_await of.end();
          } catch (const ResourceCleanupError& error) {
            for (const Json& failure : error.failures()) failures += failure.at("id").as_string();
          }
        }
      };
      TaskGroup ending(bench.loop.executor());
      ending.spawn(End::run(session, failed));
      co_await settle(bench);
      time.advance(Milliseconds(29'900));
      co_await settle(bench);
      EXPECT_FALSE(cleaned);
      time.advance(Milliseconds(100));
      co_await ending.join();
      EXPECT_TRUE(cleaned);
      EXPECT_EQ(failed, "stuck");
      co_await board.close();
    }
  };
  loop.run(Body::run(*this));
}

// Else the clean-up would take off the board what the next session has put there under the same name.
TEST_F(DeviceSessionManagerTest, BeginsNoSessionOnABoardWhileTheLastOneCleansUp) {
  with_board(stand_in_with_threads(), [](BoardBench& bench, Board& board) -> Async<void> {
    Log quiet = Log::silent();
    DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, quiet);
    struct Steps {
      static Async<void> clean(Event& go_on, std::vector<std::string>& seen) {
        co_await go_on.wait();
        seen.push_back("cleaned");
      }
      static Async<void> end(DeviceSessionManager& of, std::string id) { co_await of.end(std::move(id)); }
      static Async<void> begin(DeviceSessionManager& of, Board& on, std::vector<std::string>& seen) {
        co_await of.get_or_create(on);
        seen.push_back("begun");
      }
    };
    Event go_on;
    std::vector<std::string> seen;
    const auto session = co_await manager.create(board);
    session->add_resource({.id = "r", .cleanup = [&] { return Steps::clean(go_on, seen); }});
    TaskGroup group(bench.loop.executor());
    group.spawn(Steps::end(manager, session->id()));
    co_await settle(bench);
    group.spawn(Steps::begin(manager, board, seen));
    co_await settle(bench);
    go_on.notify_all();
    co_await group.join();
    EXPECT_THAT(seen, ElementsAre("cleaned", "begun"));
    co_await manager.close();
  });
}

TEST_F(DeviceSessionManagerTest, LeavesResourcesToTheirUserWithoutTracking) {
  struct Body {
    static Async<void> run(BoardBench& bench) {
      Board board(bench.loop.executor(), bench.clock, bench.random, parse_address("unix:/nowhere/board.sock"));
      DeviceSession session("s1", board, fallback_capabilities(), bench.loop.executor(), bench.clock,
                            {.resource_tracking = false});
      bool cleaned = false;
      session.add_resource({.id = "timer", .cleanup = [&] { return note(cleaned); }});
      EXPECT_EQ(session.resource_stats().total_resources, 0u);
      co_await session.end();
      EXPECT_FALSE(cleaned);
      co_await board.close();
    }
  };
  loop.run(Body::run(*this));
}

}  // namespace

}  // namespace sojourn::device
