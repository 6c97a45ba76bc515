#include "sojourn/device/board_threads.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"

// Threads run on the stand-in only, for neither real board has _thread; those are asked that they say so.
namespace sojourn::device {

namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Threads on a board, and the words that tests need.
struct Bench {
  BoardBench& test;
  Board& board;
  BoardThreads threads;

  Async<void> start(std::string id, Function function, ThreadOptions options = {},
                    std::vector<Value> arguments = {}) {
    return threads.start(std::move(id), std::move(function), std::move(arguments), options, test.soon());
  }
  Async<Value> eval(std::string expression) { return board.eval(std::move(expression), test.soon()); }

  Async<BackgroundThreadInfo> info(std::string id) {
    co_await threads.check(test.soon());
    for (BackgroundThreadInfo& each : threads.list()) {
      if (each.thread_id == id) co_return std::move(each);
    }
    throw Error(ErrorCode::not_found, id);
  }

  // Asks until the thread is so.
  Async<BackgroundThreadInfo> until(std::string id, std::function<bool(const BackgroundThreadInfo&)> is_so) {
    for (const Instant end = test.soon();;) {
      BackgroundThreadInfo now = co_await info(id);
      if (is_so(now)) co_return now;
      if (test.clock.instant() > end) {
        ADD_FAILURE() << id << " is " << to_text(Json(to_json(now)));
        co_return now;
      }
    }
  }
  Async<BackgroundThreadInfo> until(std::string id, ThreadState state) {
    return until(std::move(id), [state](const BackgroundThreadInfo& now) { return now.state == state; });
  }
};

class BoardThreadsTest : public BoardBench {
 public:
  using Body = Async<void> (*)(Bench&);

  void with_threads(Body body, std::string_view options = "") {
    thread_body = body;
    with_board(stand_in_with_threads(options), with);
  }

  static Async<void> with(BoardBench& test, Board& board) {
    Bench bench{test, board, BoardThreads(board, test.clock, "sess")};
    co_await thread_body(bench);
  }

  static inline Body thread_body;
};

const Function count{"count",
                     "seen = 0\n"
                     "def count(beat, step):\n"
                     "  global seen\n"
                     "  while beat():\n"
                     "    seen += step\n"
                     "  seen = -1\n",
                     {"count.py", 1}};
const std::vector<Value> one{Value{std::int64_t(1)}};

// Beats only while it may.
const Function deaf{"deaf",
                    "import time\n"
                    "free = False\n"
                    "def deaf(beat):\n"
                    "  while beat():\n"
                    "    while not free: time.sleep(0.001)\n",
                    {"deaf.py", 10}};

TEST_F(BoardThreadsTest, RunBesideCallsUntilTheyAreStopped) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.start("count-1", count, {}, one);
    const auto begun = co_await bench.until("count-1", [](const auto& now) { return now.beats > 0; });
    EXPECT_EQ(begun.state, ThreadState::running);
    EXPECT_EQ(begun.method_name, "count");
    EXPECT_EQ(begun.session_id, "sess");
    EXPECT_EQ(co_await bench.eval("6 * 7"), Value{std::int64_t(42)});
    const auto later = co_await bench.until("count-1", [&](const auto& now) { return now.beats > begun.beats; });
    EXPECT_GT(later.beats, begun.beats);
    co_await bench.threads.stop("count-1", bench.test.soon());
    EXPECT_EQ(co_await bench.eval("seen"), Value{std::int64_t(-1)}) << "it returned";
    EXPECT_TRUE(bench.threads.empty());
    co_await bench.threads.remove(bench.test.soon());
    EXPECT_EQ(co_await bench.eval("[n for n in globals() if n.startswith('_sj') or n == 'print']"), Value{List{}});
  });
}

TEST_F(BoardThreadsTest, PrintApartFromCalls) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function chatter{"chatter",
                           "def chatter(beat):\n"
                           "  while beat():\n"
                           "    print('noise', 1, sep='-', end=';')\n"};
    co_await bench.start("c", chatter);
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(co_await bench.board.exec("print('mine')", bench.test.soon()), "mine\n");
    }
    const auto heard = co_await bench.until("c", [](const auto& now) { return !now.printed.empty(); });
    EXPECT_THAT(heard.printed, HasSubstr("noise-1;noise-1;"));
    EXPECT_LE(heard.printed.size(), 4096u);
    co_await bench.threads.stop("c", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, DoNotGetIntoTheValuesOfCallsWhereverTheyWrite) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function noise{"noise",
                         "import sys\n"
                         "def noise(beat):\n"
                         "  while beat():\n"
                         "    sys.stdout.write('1')\n"
                         "    sys.stdout.write('> 2\\n')\n"};
    co_await bench.start("n", noise);
    for (std::int64_t i = 0; i < 200; ++i) {
      EXPECT_EQ(co_await bench.eval(std::to_string(i)), Value{i});
      const Error raised = co_await bench.test.error_of(bench.eval("1/0"));
      EXPECT_THAT(raised.message(), HasSubstr("ZeroDivisionError"));
    }
    co_await bench.threads.stop("n", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, TellWhatTheyRaisedInTheHostsPlaces) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function broken{"broken", "def broken(beat):\n  beat()\n  [][3]\n", {"pump.py", 40}};
    co_await bench.start("b", broken);
    const auto failed = co_await bench.until("b", ThreadState::failed);
    EXPECT_EQ(failed.error.value().message(), "IndexError: list index out of range (pump.py:42, in broken)");
    EXPECT_THAT(co_await bench.threads.check(bench.test.soon()), IsEmpty()) << "it is news but once";
    EXPECT_EQ(bench.threads.active(), 0u);
    co_await bench.threads.stop("b", bench.test.soon());
  });
}

// As where the heap is full. What cannot be told must not leave a thread that seems to run and cannot be stopped.
TEST_F(BoardThreadsTest, FailThoughTheBoardCannotTellWhatTheyRaised) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function untold{"untold",
                          "class Untold(Exception):\n"
                          "  def __str__(self): raise ValueError(1)\n"
                          "def untold(beat): raise Untold()\n"};
    co_await bench.start("u", untold);
    EXPECT_EQ((co_await bench.until("u", ThreadState::failed)).error.value().message(), "Untold");
    const Function worse{"worse",
                         "class Worse(Exception):\n"
                         "  def __str__(self): raise KeyboardInterrupt()\n"
                         "def worse(beat): raise Worse()\n"};
    co_await bench.start("w", worse);
    co_await bench.until("w", ThreadState::failed);
    co_await bench.threads.stop("w", bench.test.soon());
    co_await bench.threads.stop("u", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, StartAgainAfterFailuresWithGrowingWaits) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function flaky{"flaky",
                         "import time\n"
                         "times = []\n"
                         "def flaky(beat):\n"
                         "  times.append(time.ticks_ms())\n"
                         "  time.sleep(0.01)  # no beat, so no part of the wait\n"
                         "  if len(times) < 4: raise OSError(5)\n"
                         "  while beat(): pass\n"};
    co_await bench.start("f", flaky, {.restart_after = Milliseconds(5)});
    const auto again = co_await bench.until("f", [](const auto& now) { return now.restarts == 3; });
    EXPECT_EQ(again.state, ThreadState::running);
    EXPECT_EQ(again.error.value().details().at("type"), Json("OSError"));
    const std::string waits = "[time.ticks_diff(times[i+1],times[i])>=10+5*2**i-1 for i in range(3)]";
    EXPECT_EQ(co_await bench.eval(waits), parse_repr("[True, True, True]"));
    co_await bench.threads.stop("f", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, CallAFunctionAgainAndAgain) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function tick{"tick", "ticks = 0\ndef tick(step):\n  global ticks\n  ticks += step\n"};
    co_await bench.start("t", tick, {.period = Milliseconds(1)}, one);
    while (co_await bench.eval("ticks < 3") == Value{true}) {
    }
    co_await bench.threads.stop("t", bench.test.soon());
    const Value ticks = co_await bench.eval("ticks");
    EXPECT_EQ(co_await bench.eval("ticks"), ticks);
  });
}

TEST_F(BoardThreadsTest, EndAtTheirMostRuntime) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.start("c", count, {.max_runtime = Milliseconds(20)}, one);
    co_await bench.until("c", ThreadState::ended);
    EXPECT_EQ(co_await bench.eval("seen"), Value{std::int64_t(-1)});
    const Function slow{"slow", "def slow(): pass\n"};
    co_await bench.start("s", slow, {.period = Milliseconds(1'000'000), .max_runtime = Milliseconds(20)});
    const auto ended = co_await bench.until("s", ThreadState::ended);
    EXPECT_EQ(ended.error, std::nullopt);
  });
}

TEST_F(BoardThreadsTest, AreSilentWithoutABeatAndNamedWhenTheyDoNotEnd) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.start("deaf-1", deaf, {.heartbeat_timeout = Milliseconds(20)});
    co_await bench.until("deaf-1", [](const auto& now) { return now.state == ThreadState::silent && now.beats > 0; });
    EXPECT_EQ(bench.threads.active(), 1u);
    const Error error = co_await bench.test.error_of(bench.threads.stop("deaf-1", bench.test.in(Milliseconds(300))));
    EXPECT_EQ(error.code(), ErrorCode::call_timeout);
    EXPECT_THAT(error.message(), AllOf(HasSubstr("thread deaf-1 (deaf.py:10, deaf)"), HasSubstr("goes on")));
    EXPECT_TRUE(bench.threads.has("deaf-1"));
    co_await bench.board.exec("free = True", bench.test.soon());
    co_await bench.threads.stop("deaf-1", bench.test.soon());
    EXPECT_FALSE(bench.threads.has("deaf-1"));
  });
}

TEST_F(BoardThreadsTest, BeatAgainAfterASilence) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.start("d", deaf, {.heartbeat_timeout = Milliseconds(20)});
    co_await bench.until("d", ThreadState::silent);
    co_await bench.board.exec("free = True", bench.test.soon());
    co_await bench.until("d", ThreadState::running);
    co_await bench.threads.stop("d", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, AreLostWithTheBoardsMemoryAndRestored) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function brief{"brief", "def brief(beat): pass\n"};
    co_await bench.start("c", count, {}, one);
    co_await bench.start("b", brief);
    co_await bench.until("b", ThreadState::ended);
    co_await bench.board.restart(bench.test.soon());
    std::vector<std::string> lost;
    for (const auto& each : co_await bench.threads.check(bench.test.soon())) lost.push_back(each.thread_id);
    EXPECT_THAT(lost, ElementsAre("c"));
    EXPECT_TRUE(bench.threads.wants_restore());
    co_await bench.threads.restore(bench.test.soon());
    EXPECT_FALSE(bench.threads.wants_restore());
    co_await bench.until("c", [](const auto& now) { return now.state == ThreadState::running && now.beats > 0; });
    EXPECT_EQ(bench.threads.active(), 1u) << "what had ended is not begun again";
    co_await bench.threads.stop("c", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, AreRestoredAlsoBehindOneThatCannotBe) {
  with_threads([](Bench& bench) -> Async<void> {
    const Function fragile{"fragile", "needed\ndef fragile(beat):\n  while not beat(): pass\n"};
    co_await bench.board.exec("needed = 1", bench.test.soon());
    co_await bench.start("f", fragile);
    co_await bench.start("c", count, {}, one);
    co_await bench.board.restart(bench.test.soon());
    co_await bench.threads.check(bench.test.soon());
    const Error error = co_await bench.test.error_of(bench.threads.restore(bench.test.soon()));
    EXPECT_THAT(error.message(), HasSubstr("needed"));
    co_await bench.until("c", [](const auto& now) { return now.state == ThreadState::running && now.beats > 0; });
    EXPECT_TRUE(bench.threads.wants_restore()) << "the other stays lost";
    co_await bench.threads.stop("c", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, StandStillWhileTheyAreHeld) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.board.exec("import time", bench.test.soon());
    co_await bench.start("a", count, {}, one);
    co_await bench.threads.hold(bench.test.soon());
    const Value still = co_await bench.eval("seen");
    EXPECT_EQ(co_await bench.eval("time.sleep(0.02) or seen"), still);
    co_await bench.threads.let_go(bench.test.soon());
    while (co_await bench.eval("seen") == still) {
    }
    co_await bench.start("d", deaf);
    co_await bench.until("d", [](const auto& now) { return now.beats > 0; });
    const Error error = co_await bench.test.error_of(bench.threads.hold(bench.test.in(Milliseconds(300))));
    EXPECT_EQ(error.code(), ErrorCode::call_timeout);
    EXPECT_THAT(error.message(), HasSubstr("beside thread d"));
    const Value held = co_await bench.eval("seen");
    while (co_await bench.eval("seen") == held) {
    }
    co_await bench.board.exec("free = True", bench.test.soon());
    co_await bench.threads.stop("d", bench.test.soon());
    co_await bench.threads.stop("a", bench.test.soon());
  });
}

// A hold that nobody ended, for the wire was lost, lies half a turn of the clock ahead some days later.
TEST_F(BoardThreadsTest, DoNotStandStillAgainWhenTheClockWrapsAround) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.start("a", count, {}, one);
    co_await bench.eval("_sj_threads.hold(1)");
    const auto before = co_await bench.info("a");
    const auto after = co_await bench.until("a", [&](const auto& now) { return now.beats > before.beats + 1; });
    const char* const later = "import time\nreal=time.ticks_ms\ntime.ticks_ms=lambda:(real()+(1<<29)+1000)%(1<<30)";
    co_await bench.board.exec(later, bench.test.soon());
    co_await bench.until("a", [&](const auto& now) { return now.beats > after.beats + 100; });
    co_await bench.threads.stop("a", bench.test.soon());
  });
}

TEST_F(BoardThreadsTest, AreNotThereWhenTheBoardRefusesThem) {
  with_threads(
      [](Bench& bench) -> Async<void> {
        const Error error = co_await bench.test.error_of(bench.start("c", count, {}, one));
        EXPECT_THAT(error.message(), HasSubstr("OSError: core1 in use"));
        EXPECT_TRUE(bench.threads.empty());
        EXPECT_EQ(co_await bench.eval("_sj_threads.state()"), Value{List{}});
      },
      "--refuse");
}

TEST_F(BoardThreadsTest, AreNotStartedTwiceOrWithTimesThatAreNone) {
  with_threads([](Bench& bench) -> Async<void> {
    co_await bench.start("c", count, {}, one);
    EXPECT_EQ((co_await bench.test.error_of(bench.start("c", count))).code(), ErrorCode::already_exists);
    const Error none = co_await bench.test.error_of(bench.start("d", count, {.period = Milliseconds(0)}));
    EXPECT_EQ(none.code(), ErrorCode::invalid_request);
    const Error endless =
        co_await bench.test.error_of(bench.start("d", count, {.stop_timeout = Milliseconds::max()}));
    EXPECT_EQ(endless.code(), ErrorCode::invalid_request);
    EXPECT_EQ((co_await bench.test.error_of(bench.threads.stop("d", bench.test.soon()))).code(),
              ErrorCode::not_found);
    EXPECT_EQ(bench.threads.allocate_id("count"), "count-1");
    EXPECT_EQ(bench.threads.allocate_id("count"), "count-2");
    co_await bench.threads.stop("c", bench.test.soon());
  });
}

class BoardWithoutThreadsTest : public BoardBench {};

TEST_P(BoardWithoutThreadsTest, SaysSoAtOnceAndNamesItself) {
  static std::string platform;
  platform = GetParam()().platform;
  with_board(GetParam()(), [](BoardBench& test, Board& board) -> Async<void> {
    BoardThreads threads(board, test.clock);
    const Error error = co_await error_of(threads.start("c", count, one, {}, test.soon()));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_EQ(error.details().at("class"), Json("import"));
    EXPECT_THAT(error.message(), AllOf(HasSubstr("board " + platform), HasSubstr("no module _thread")));
    EXPECT_TRUE(threads.empty());
    EXPECT_EQ(co_await board.eval("'count' in globals() or '_sj_threads' in globals()", test.soon()), Value{false});
    threads.forget();
  });
}

INSTANTIATE_TEST_SUITE_P(Boards, BoardWithoutThreadsTest, testing::Values(microbit, webassembly),
                         [](const auto& boards) { return boards.param().name; });

}  // namespace

}  // namespace sojourn::device
