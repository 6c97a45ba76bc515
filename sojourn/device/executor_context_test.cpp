#include "sojourn/device/executor_context.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/session_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ExecutorContextTest : public SessionBench {};

const Function blink{"blink", "def blink(n):\n  return n * 2\n", {"blink.py", 1}};
const std::vector<Value> three{Value{std::int64_t(3)}};

// Notes in the list `log` when it ends, by its name.
const Function worker{"worker",
                      "log = []\n"
                      "turns = 0\n"
                      "def worker(beat, name):\n"
                      "  global turns\n"
                      "  while beat(): turns += 1\n"
                      "  log.append(name)\n",
                      {"worker.py", 1}};
const Function stubborn{"stubborn",
                        "import time\n"
                        "def stubborn(beat):\n"
                        "  while True: time.sleep(0.001)\n",
                        {"stubborn.py", 7}};

std::vector<Value> named(std::string name) {
  return {Value{std::move(name)}};
}

// Waits for news of a thread, as the manager hears it.
struct News {
  explicit News(DeviceSessionManager& manager) {
    manager.on_thread_news([this](const BackgroundThreadInfo& thread) {
      heard.push_back(thread);
      changed.notify_all();
    });
  }
  Async<BackgroundThreadInfo> next(BoardBench& test) {
    const Instant end = test.soon();
    while (heard.empty() && co_await changed.wait_until(test.clock, end)) {
    }
    if (heard.empty()) throw Error(ErrorCode::call_timeout, "no news");
    BackgroundThreadInfo first = heard.front();
    heard.erase(heard.begin());
    co_return first;
  }

  std::vector<BackgroundThreadInfo> heard;
  Event changed;
};

TEST_F(ExecutorContextTest, KnowsWhatItsSessionDeployedAndSinceWhen) {
  with_manager(microbit(), [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    const ExecutorContext& context = session->executor_context();
    const Hash hash = sha256(blink.source);
    EXPECT_FALSE(context.is_method_deployed("blink", hash));
    const Time before = bench.clock.now();
    co_await session->call(blink, three, bench.soon());
    EXPECT_TRUE(context.is_method_deployed("blink", hash));
    EXPECT_FALSE(context.is_method_deployed("blink", sha256("def blink(n): pass")));
    EXPECT_FALSE(context.is_method_deployed("other", hash));
    const std::vector<DeployedMethodInfo> methods = context.deployed_methods();
    EXPECT_EQ(methods.size(), 1u);
    EXPECT_EQ(methods.at(0).signature, "blink");
    EXPECT_EQ(methods.at(0).code_hash, hash);
    EXPECT_EQ(methods.at(0).session_id, session->id());
    EXPECT_GE(methods.at(0).deployed_at, before);
    co_await board.restart(bench.soon());
    EXPECT_FALSE(context.is_method_deployed("blink", hash)) << "the board's memory is a new one";
    EXPECT_EQ(session->allocate_thread_id("blink"), "blink-1");
    EXPECT_EQ(session->allocate_thread_id("read"), "read-2");
  });
}

TEST_F(ExecutorContextTest, StopsThreadsNewestFirstWhenTheSessionEnds) {
  with_manager(stand_in_with_threads(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 EXPECT_EQ(co_await session->start_thread(worker, named("first"), bench.soon()), "worker-1");
                 EXPECT_EQ(co_await session->start_thread(worker, named("second"), bench.soon()), "worker-2");
                 EXPECT_EQ(co_await session->start_thread(worker, named("third"), bench.soon()), "worker-3");
                 co_await session->stop_thread("worker-2", bench.soon());
                 EXPECT_EQ(session->resource_stats().background_threads, 2u);
                 EXPECT_EQ(session->resource_stats().resources_by_type.at("thread"), 2u);
                 std::vector<std::string> ids;
                 for (const auto& thread : session->executor_context().threads()) ids.push_back(thread.thread_id);
                 EXPECT_THAT(ids, ElementsAre("worker-1", "worker-3"));
                 co_await manager.end(session->id());
                 EXPECT_EQ(co_await board.eval("log", bench.soon()), parse_repr("['second', 'third', 'first']"));
                 EXPECT_EQ(co_await board.eval("'worker' in globals() or '_sj_threads' in globals()", bench.soon()),
                           Value{false});
               });
}

TEST_F(ExecutorContextTest, NamesAThreadThatIsLeftOver) {
  with_manager(stand_in_with_threads(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 co_await session->start_thread(worker, named("good"), bench.soon());
                 co_await session->start_thread(stubborn, {}, bench.soon(), {.stop_timeout = Milliseconds(50)});
                 JsonArray failures;
                 try {
                   co_await manager.end(session->id());
                 } catch (const ResourceCleanupError& error) {
                   failures = error.failures();
                 }
                 EXPECT_EQ(failures.size(), 1u);
                 EXPECT_EQ(failures.at(0).at("id"), Json("stubborn-2"));
                 EXPECT_EQ(failures.at(0).at("kind"), Json("thread"));
                 EXPECT_THAT(std::string(failures.at(0).at("message").as_string()), HasSubstr("stubborn.py:7"));
                 EXPECT_EQ(co_await board.eval("log", bench.soon()), parse_repr("['good']"));
               });
}

TEST_F(ExecutorContextTest, TellsNewsOfThreadsWithoutBeingAsked) {
  const Milliseconds often(5);
  with_manager(stand_in_with_threads(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 News news(manager);
                 const auto session = co_await manager.create(board);
                 const Function broken{"broken", "def broken(beat):\n  1/0\n", {"broken.py", 30}};
                 const std::string id = co_await session->start_thread(broken, {}, bench.soon());
                 const BackgroundThreadInfo failed = co_await news.next(bench);
                 EXPECT_EQ(failed.thread_id, id);
                 EXPECT_EQ(failed.state, ThreadState::failed);
                 EXPECT_EQ(failed.error.value().message(),
                           "ZeroDivisionError: division by zero (broken.py:31, in broken)");
                 co_await session->start_thread(worker, named("w"), bench.soon());
                 co_await board.restart(bench.soon());
                 const BackgroundThreadInfo restored = co_await news.next(bench);
                 EXPECT_EQ(restored.method_name, "worker");
                 EXPECT_EQ(restored.state, ThreadState::running) << "it was started again without an operation";
                 while (co_await board.eval("turns == 0", bench.soon()) == Value{true}) {
                 }
                 manager.on_thread_news(nullptr);
               },
               {.watch_interval = often});
}

TEST_F(ExecutorContextTest, StartsThreadsAgainBeforeTheNextOperationOnANewMemory) {
  with_manager(stand_in_with_threads(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 session->add_setup({.name = "pins", .code = "pins = []"});
                 const Function user{"user", "def user(beat):\n  while beat(): pins.append(1)\n", {"user.py", 1}};
                 co_await session->start_thread(user, {}, bench.soon());
                 co_await session->board().soft_reset(bench.soon());
                 EXPECT_EQ(co_await session->eval("6 * 7", bench.soon()), Value{std::int64_t(42)});
                 EXPECT_EQ(co_await session->eval("_sj_threads.state()[0][:2]", bench.soon()),
                           parse_repr("('user-1', True)"));
                 while (co_await session->eval("len(pins) == 0", bench.soon()) == Value{true}) {
                 }
               },
               {.watch_interval = Seconds(1000)});
}

TEST_F(ExecutorContextTest, LeavesNoThreadTrackedThatDidNotBegin) {
  with_manager(stand_in_with_threads("--refuse"),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 const Error error = co_await error_of(session->start_thread(worker, named("w"), bench.soon()));
                 EXPECT_THAT(error.message(), HasSubstr("core1 in use"));
                 EXPECT_FALSE(session->resource_stats().resources_by_type.contains("thread"));
               });
}

TEST_F(ExecutorContextTest, LeavesThreadsAloneInAnEmergencyAndNamesThem) {
  with_manager(stand_in_with_threads(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 co_await session->start_thread(worker, named("w"), bench.soon());
                 const auto runs = board.link().statistics().runs;
                 EXPECT_THAT(session->abandon(), ElementsAre("worker", "worker-1"));
                 EXPECT_EQ(board.link().statistics().runs, runs);
                 EXPECT_EQ(session->resource_stats().background_threads, 0u);
               },
               {.watch_interval = Seconds(1000)});
}

}  // namespace

}  // namespace sojourn::device
