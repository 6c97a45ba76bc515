#include "sojourn/device/step.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/session_bench_test.hpp"

// That each option of a step and of a task is obeyed: on the real micro:bit, but where threads are needed.
namespace sojourn::device {

namespace {

using testing::HasSubstr;

class StepTest : public SessionBench {};

const Value a{std::string("a")};
constexpr Seconds never(100'000);  // so often is a board looked after that must not be

TEST_F(StepTest, RunsByItselfWhenTheSessionBeginsAndTheBoardComesBack) {
  DeviceSessionManager::Options options{.watch_interval = Milliseconds(5)};
  options.setups = {{.name = "late", .code = "seen += 'L'", .order = 1},
                    {.name = "auto", .code = "seen = 'A'", .order = 2, .auto_run = true}};
  with_manager(
      microbit(),
      [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
        const auto session = co_await manager.create(board);
        EXPECT_EQ(co_await board.eval("seen", bench.soon()), Value{std::string("A")});
        co_await board.restart(bench.soon());
        while (co_await board.eval("'seen' in globals()", bench.soon()) == Value{false}) {
        }
        EXPECT_EQ(co_await board.eval("seen", bench.soon()), Value{std::string("A")}) << "the other waits for a call";
        EXPECT_EQ(co_await session->eval("seen", bench.soon()), Value{std::string("AL")});
      },
      options);
}

TEST_F(StepTest, RunsAtTheFirstOperationOtherwise) {
  with_manager(microbit(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 EXPECT_FALSE(session->wants_watch());
                 EXPECT_EQ(co_await board.eval("'seen' in globals()", bench.soon()), Value{false});
                 EXPECT_EQ(co_await session->eval("seen", bench.soon()), a);
               },
               {.setups = {{.name = "late", .code = "seen = 'a'"}}, .watch_interval = Milliseconds(5)});
}

TEST_F(StepTest, RunsWhenItIsAskedForByNameAndNotAgainAtTheFirstOperation) {
  with_manager(microbit(), [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    session->add_setup({.name = "pins", .code = "seen = 'a'\nprint('done')"});
    session->add_teardown({.name = "off", .code = "seen += 'o'"});
    EXPECT_EQ(co_await session->run_step("pins", bench.soon()), "done\n");
    co_await session->run_step("off", bench.soon());
    EXPECT_EQ(co_await session->eval("seen", bench.soon()), Value{std::string("ao")});
    EXPECT_EQ((co_await error_of(session->run_step("none", bench.soon()))).code(), ErrorCode::not_found);
    co_await manager.end(session->id());
    EXPECT_EQ(co_await board.eval("seen", bench.soon()), Value{std::string("aoo")});
  });
}

TEST_F(StepTest, RunsInItsOrderAndThenAsItWasAdded) {
  Steps steps;
  for (const auto& [name, order] : {std::pair{"c", 2}, {"a", 1}, {"d", 2}, {"b", 1}}) {
    steps.add({.name = name, .order = order});
  }
  std::string order;
  while (const auto step = steps.next_due(1, false)) {
    order += step->name;
    steps.note_run(step->name, 1);
  }
  EXPECT_EQ(order, "abcd");
  EXPECT_TRUE(steps.next_due(2, false)) << "and again in a new memory";
  EXPECT_FALSE(steps.next_due(2, true));
  EXPECT_THROW(steps.add({.name = "a"}), Error);
}

TEST_F(StepTest, FailsTheOperationUnlessItsErrorsAreIgnored) {
  with_manager(microbit(), [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    session->add_setup({.name = "count", .code = "runs = globals().get('runs', 0) + 1", .order = 1});
    session->add_setup({.name = "careless", .code = "1/0", .order = 2, .ignore_errors = true});
    session->add_setup({.name = "critical",
                        .code = "if not globals().get('well'): raise ValueError('ill')",
                        .order = 3,
                        .place = {"setup.py", 20}});
    const Error error = co_await error_of(session->eval("runs", bench.soon()));
    EXPECT_EQ(error.message(), "ValueError: ill (setup.py:20)");
    co_await board.exec("well = True", bench.soon());
    EXPECT_EQ(co_await session->eval("runs", bench.soon()), Value{std::int64_t(1)}) << "what ran does not run again";
  });
}

TEST_F(StepTest, IsInterruptedAtItsOwnTimeout) {
  with_manager(microbit(), [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    session->add_setup(
        {.name = "endless", .code = "while True: pass", .ignore_errors = true, .timeout = Milliseconds(100)});
    EXPECT_EQ(co_await session->eval("6 * 7", bench.soon()), Value{std::int64_t(42)});
    EXPECT_EQ(board.link().statistics().timeouts, 1u);
  });
}

TEST_F(StepTest, OfATaskIsItsTimeoutToo) {
  with_manager(microbit(), [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    const Function spin{"spin", "def spin(on):\n  while on: pass\n  return 'done'\n"};
    const Task task{.function = spin, .timeout = Milliseconds(100)};
    const Error late = co_await error_of(session->run(task, {Value{true}}, bench.soon()));
    EXPECT_EQ(late.code(), ErrorCode::call_timeout);
    EXPECT_EQ(co_await session->run({.function = spin}, {Value{false}}, bench.soon()), Value{std::string("done")});
  });
}

// A thread that counts, and code that looks twice whether it goes on.
const Function counting{"counting", "turns = 0\ndef counting(beat):\n  global turns\n  while beat(): turns += 1\n"};
constexpr const char* look = "import time\nbefore = turns\ntime.sleep(0.02)\nmoved = turns != before\n";

TEST_F(StepTest, RunsAloneWhereItIsExclusive) {
  with_manager(stand_in_with_threads(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const auto session = co_await manager.create(board);
                 session->add_setup(
                     {.name = "alone", .code = look + std::string("\n"), .ignore_errors = true, .exclusive = true});
                 session->add_setup({.name = "beside", .code = look, .ignore_errors = true});
                 co_await session->start_thread(counting, {}, bench.soon());
                 while (co_await session->eval("turns == 0", bench.soon()) == Value{true}) {
                 }
                 co_await session->run_step("alone", bench.soon());
                 EXPECT_EQ(co_await session->eval("moved", bench.soon()), Value{false});
                 co_await session->run_step("beside", bench.soon());
                 EXPECT_EQ(co_await session->eval("moved", bench.soon()), Value{true});
                 const Function sees{"sees", "def sees():\n  b = turns\n  time.sleep(0.02)\n  return turns != b\n"};
                 EXPECT_EQ(co_await session->run({.function = sees, .exclusive = true}, {}, bench.soon()),
                           Value{false});
                 EXPECT_EQ(co_await session->run({.function = sees}, {}, bench.soon()), Value{true})
                     << "it goes on afterwards";
                 const Function fails{"fails", "def fails(): 1/0\n"};
                 const Task task{.function = fails, .exclusive = true};
                 const Error failed = co_await error_of(session->run(task, {}, bench.soon()));
                 EXPECT_THAT(failed.message(), HasSubstr("ZeroDivisionError"));
                 EXPECT_EQ(co_await session->run({.function = sees}, {}, bench.soon()), Value{true});
               },
               {.watch_interval = never});
}

TEST_F(StepTest, EndsTheSessionThatItCannotBegin) {
  with_manager(microbit(),
               [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
                 const Error error = co_await error_of(manager.create(board));
                 EXPECT_THAT(error.message(), HasSubstr("ZeroDivisionError"));
                 EXPECT_EQ(manager.stats().active_session_count, 0u);
                 EXPECT_EQ(co_await board.eval("off", bench.soon()), Value{true}) << "what had begun was torn down";
               },
               {.setups = {{.name = "broken", .code = "1/0", .auto_run = true}},
                .teardowns = {{.name = "off", .code = "off = True"}}});
}

}  // namespace

}  // namespace sojourn::device
