#include "sojourn/device/session_metrics.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"
#include "sojourn/device/device_session_manager.hpp"

namespace sojourn::device {

namespace {

using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

class SessionMetricsTest : public BoardBench {
 public:
  static Async<void> fail() {
    throw Error(ErrorCode::app_error, "stuck");
    co_return;
  }
  static Async<void> succeed() { co_return; }

  // A session with resources of two types, a method and a clean-up that fails.
  static Async<void> use(BoardBench& bench, Board& board, DeviceSessionManager& manager) {
    const auto session = co_await manager.create(board);
    session->add_resource({.id = "t1", .kind = "timer", .cost = 50, .cleanup = succeed});
    session->add_resource({.id = "t2", .kind = "timer", .cost = 7, .cleanup = fail});
    session->add_resource({.id = "p1", .kind = "pin", .cleanup = succeed});
    const Function blink{"blink", "def blink():\n return 1\n", {"blink.py", 1}};
    co_await session->call(blink, {}, bench.soon());
    co_await session->call(blink, {}, bench.soon());
    const Error error = co_await error_of(manager.end(session->id()));
    EXPECT_EQ(error.code(), ErrorCode::cleanup_failed);
  }

  static inline DeviceSessionManager::Options options;
};

TEST_F(SessionMetricsTest, CountSessionsAndWhatTheyRegister) {
  options = {};
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    Log quiet = Log::silent();
    DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, quiet, options);
    co_await use(bench, board, manager);
    co_await manager.close();
    const SessionMetrics& metrics = manager.metrics();
    EXPECT_EQ(metrics.sessions_created, 1u);
    EXPECT_EQ(metrics.creation_duration.count(), 1u);
    EXPECT_GT(metrics.creation_duration.longest(), Microseconds(0));
    EXPECT_THAT(metrics.resources_registered,
                UnorderedElementsAre(Pair("timer", 2u), Pair("pin", 1u), Pair("method", 1u)));
  });
}

TEST_F(SessionMetricsTest, AreNotCountedWhereTheyAreSwitchedOff) {
  options = {.enable_session_metrics = false};
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    Log quiet = Log::silent();
    DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, quiet, options);
    co_await use(bench, board, manager);
    co_await manager.close();
    EXPECT_EQ(manager.metrics().sessions_created, 0u);
    EXPECT_TRUE(manager.metrics().resources_registered.empty());
    EXPECT_EQ(manager.stats().total_session_count, 0u);
    EXPECT_EQ(manager.stats().max_session_count, 0u);
  });
}

TEST_F(SessionMetricsTest, OfResourceTypesAreBounded) {
  SessionMetrics metrics;
  for (std::size_t i = 0; i < 2 * SessionMetrics::most_types; ++i)
    metrics.count_resource("type " + std::to_string(i));
  EXPECT_EQ(metrics.resources_registered.size(), SessionMetrics::most_types + 1);
  EXPECT_EQ(metrics.resources_registered.at("other"), SessionMetrics::most_types);
}

TEST_F(SessionMetricsTest, TheLogTellsOfSessionsAndTheirResources) {
  testing::internal::CaptureStderr();
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    Log log(LogLevel::debug, LogFormat::json);
    DeviceSessionManager manager(bench.loop.executor(), bench.clock, bench.random, log);
    co_await use(bench, board, manager);
    co_await manager.close();
  });
  const std::string said = testing::internal::GetCapturedStderr();
  if (IsSkipped()) return;
  EXPECT_THAT(said, HasSubstr("session created"));
  EXPECT_THAT(said, HasSubstr(R"("firmware":"micropython 1.9.2","platform":"microbit")"));
  EXPECT_THAT(said, HasSubstr("resource registered"));
  EXPECT_THAT(said, HasSubstr(R"("type":"timer","resource":"t1","cost":50)"));
  EXPECT_THAT(said, HasSubstr(R"("type":"method","resource":"blink","cost":1)"));
  EXPECT_THAT(said, HasSubstr("resource clean-up failed"));
  EXPECT_THAT(said, HasSubstr(R"("failure":{"id":"t2","kind":"timer","message":"stuck"})"));
  EXPECT_THAT(said, HasSubstr("session ended"));
  EXPECT_THAT(said, HasSubstr(R"("resources_cleaned_up":3)"));
}

}  // namespace

}  // namespace sojourn::device
