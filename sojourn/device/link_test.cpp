#include "sojourn/device/link.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <pty.h>

#include <random>

#include "sojourn/device/board_bench_test.hpp"
#include "sojourn/device/board_files.hpp"

namespace sojourn::device {

namespace {

using std::string_literals::operator""s;
using testing::HasSubstr;

class LinkTest : public BoardBench {};

// Interrupted, for it heeds Ctrl-C.
constexpr const char* endless = "n = 0\nwhile True:\n  n += 1\n";
TEST_F(LinkTest, InterruptsTheBoardAtTheDeadlineAndGoesOn) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    co_await board.exec("kept = 5", bench.soon());
    const Error error = co_await error_of(board.exec(endless, bench.in(Milliseconds(100))));
    EXPECT_EQ(error.code(), ErrorCode::call_timeout);
    EXPECT_EQ(co_await board.eval("kept", bench.soon()), Value{std::int64_t(5)});
    EXPECT_GT(std::get<std::int64_t>((co_await board.eval("n", bench.soon())).is), 0);
    EXPECT_EQ(board.link().statistics().restarts, 0u);
    EXPECT_EQ(board.link().statistics().timeouts, 1u);
  });
}

TEST_F(LinkTest, RestartsABoardThatHeedsNoInterrupt) {
  // Nothing reaches this board while its code runs.
  with_board(webassembly(),
             [](BoardBench& bench, Board& board) -> Async<void> {
               co_await board.exec("kept = 5", bench.soon());
               const Error error = co_await error_of(board.exec(endless, bench.in(Milliseconds(100))));
               EXPECT_EQ(error.code(), ErrorCode::call_timeout);
               EXPECT_EQ(co_await board.exec("print('alive')", bench.soon()), "alive\n");
               EXPECT_EQ(board.link().statistics().restarts, 1u);
               EXPECT_EQ(board.link().boot(), 2u);
               const Error gone = co_await error_of(board.eval("kept", bench.soon()));
               EXPECT_EQ(gone.details().at("type"), "NameError");
             },
             {.grace = Milliseconds(200)});
}

TEST_F(LinkTest, StreamsOutputWhileCodeRuns) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    std::string heard;
    const RunOptions listening{.on_output = [&](std::string_view text) { heard += text; }};
    const Error error =
        co_await error_of(board.exec("print('begun')\nwhile True:\n  pass", bench.in(Seconds(1)), listening));
    EXPECT_EQ(error.code(), ErrorCode::call_timeout);
    EXPECT_EQ(heard, "begun\n");
  });
}

TEST_F(LinkTest, ServesItsCallersInTheirOrder) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    co_await board.exec("seen = []", bench.soon());
    TaskGroup callers(bench.loop.executor());
    struct Caller {
      static Async<void> run(BoardBench& test, Board& of, int number) {
        co_await of.exec(fmt::format("seen.append({})", number), test.soon());
      }
    };
    for (int i = 0; i < 8; ++i) callers.spawn(Caller::run(bench, board, i));
    co_await callers.join();
    EXPECT_EQ(to_python(co_await board.eval("seen", bench.soon())), "[0,1,2,3,4,5,6,7]");
  });
}

TEST_F(LinkTest, SendsAwayWhoWaitsPastTheirDeadlineAndNobodyElse) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    co_await board.open(bench.soon());
    TaskGroup callers(bench.loop.executor());
    std::vector<std::string> ended;
    struct Caller {
      static Async<void> run(Board& of, std::string code, Instant deadline, std::vector<std::string>& ended) {
        const Error error = co_await error_of(of.exec(code, deadline));
        EXPECT_EQ(error.code(), ErrorCode::call_timeout);
        ended.push_back(code);
      }
    };
    callers.spawn(Caller::run(board, endless, bench.in(Milliseconds(400)), ended));
    callers.spawn(Caller::run(board, "waited = 1", bench.in(Milliseconds(20)), ended));
    co_await callers.join();
    EXPECT_THAT(ended, testing::ElementsAre("waited = 1", endless));
    EXPECT_EQ(co_await board.eval("'waited' in globals()", bench.soon()), Value{false});
    EXPECT_EQ(board.link().statistics().timeouts, 2u);
  });
}

TEST_F(LinkTest, RefusesMoreThanItsQueueHolds) {
  with_board(microbit(),
             [](BoardBench& bench, Board& board) -> Async<void> {
               co_await board.open(bench.soon());
               TaskGroup callers(bench.loop.executor());
               struct Caller {
                 static Async<void> run(BoardBench& test, Board& of, int& full) {
                   try {
                     co_await of.exec("pass", test.soon());
                   } catch (const Error& error) {
                     full += error.code() == ErrorCode::queue_full;
                   }
                 }
               };
               int full = 0;
               for (int i = 0; i < 5; ++i) callers.spawn(Caller::run(bench, board, full));
               co_await callers.join();
               EXPECT_EQ(full, 3);
             },
             {.queue = 2});
}

TEST_F(LinkTest, TellsThatTheBoardStartedAnewInMidCall) {
  for (const Kind& kind : {microbit(), webassembly()}) {
    with_board(kind, [](BoardBench& bench, Board& board) -> Async<void> {
      co_await board.exec("kept = 5", bench.soon());
      const Error error = co_await error_of(board.exec(
          "try:\n  import microbit\n  microbit.reset()\nexcept ImportError:\n  raise SystemExit", bench.soon()));
      EXPECT_EQ(error.code(), ErrorCode::worker_lost);
      EXPECT_EQ(co_await board.exec("print(1)", bench.soon()), "1\n");
    });
  }
}

TEST_F(LinkTest, TellsThatTheBoardIsGoneAndFindsItAgain) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    EXPECT_EQ(board.link().state(), ConnectionState::disconnected);
    co_await board.open(bench.soon());
    EXPECT_EQ(board.link().state(), ConnectionState::connected);
    co_await board.restart(bench.soon());
    EXPECT_EQ(board.link().boot(), 2u);
    EXPECT_EQ(co_await board.exec("print(1)", bench.soon()), "1\n");
  });
}

TEST_F(LinkTest, SaysSoWhenThereIsNoBoard) {
  const LinkOptions once{.reconnection = {.attempts = 2, .first = Milliseconds(1)}};
  for (const char* address : {"unix:/nowhere/board.sock", "serial:/dev/nowhere", "tcp:127.0.0.1:1"}) {
    with_board(
        {"none", address, "/", ""},
        [](BoardBench& bench, Board& board) -> Async<void> {
          const Error error = co_await error_of(board.open(bench.soon()));
          EXPECT_EQ(error.code(), ErrorCode::connection_failed);
          EXPECT_EQ(board.link().state(), ConnectionState::lost);
        },
        once);
  }
}

TEST_F(LinkTest, DoesNotWaitPastTheDeadlineForABoardThatSaysNothing) {
  with_board({"mute", "subprocess:sleep 1000", "/", ""}, [](BoardBench& bench, Board& board) -> Async<void> {
    const Error error = co_await error_of(board.exec("print(1)", bench.in(Milliseconds(50))));
    EXPECT_EQ(error.code(), ErrorCode::call_timeout);
  });
}

TEST_F(LinkTest, TellsOfAProgramThatEnds) {
  with_board({"short", "subprocess:true", "/", ""},
             [](BoardBench& bench, Board& board) -> Async<void> {
               const Error error = co_await error_of(board.exec("print(1)", bench.soon()));
               EXPECT_EQ(error.code(), ErrorCode::connection_failed);
             },
             {.reconnection = {.attempts = 2, .first = Milliseconds(1)}});
}

// `use`, and then the board is closed.
Async<void> used(Board& board, Async<void> use) {
  std::exception_ptr error;
  try {
    co_await std::move(use);
  } catch (...) {
    error = std::current_exception();
  }
  co_await board.close();
  if (error) std::rethrow_exception(error);
}

// A wire that is another one but for what a test changes of it.
class WrappedTransport : public Transport {
 public:
  explicit WrappedTransport(std::unique_ptr<Transport> wire) : wire_(std::move(wire)) {}

  Async<void> open(Instant deadline) override { return wire_->open(deadline); }
  Async<std::string> receive() override { return wire_->receive(); }
  void send(std::string_view bytes) override { wire_->send(bytes); }
  bool can_restart() const override { return wire_->can_restart(); }
  Async<void> restart(Instant deadline) override { return wire_->restart(deadline); }
  void close() override { wire_->close(); }

 protected:
  const std::unique_ptr<Transport> wire_;
};

// A wire that brings all that an interrupted board says, until it waits again, at once.
class GatheringTransport final : public WrappedTransport {
 public:
  using WrappedTransport::WrappedTransport;

  Async<std::string> receive() override {
    std::string all;
    do all += co_await wire_->receive();
    while (interrupted_ && !all.ends_with("\n>") && !all.ends_with("\4>"));
    co_return all;
  }
  void send(std::string_view bytes) override {
    interrupted_ = bytes.find('\x03') != bytes.npos;
    wire_->send(bytes);
  }

 private:
  bool interrupted_ = false;
};

// The last output and the end come together then.
TEST_F(LinkTest, DoesNotTakeTheEndOfAnInterruptedRunForThatOfTheNext) {
  struct Body {
    static Async<void> run(BoardBench& bench, Board& board) {
      co_await board.open(bench.soon());
      const Error error = co_await error_of(board.exec("while True: print('x')", bench.in(Milliseconds(100))));
      EXPECT_EQ(error.code(), ErrorCode::call_timeout);
      EXPECT_EQ(co_await board.eval("6*7", bench.soon()), Value{std::int64_t(42)});
      EXPECT_EQ(board.link().boot(), 1u);
    }
    static Async<void> with(BoardBench& bench, Kind kind) {
      auto wire = make_transport(bench.loop.executor(), bench.clock, parse_address(kind.address));
      Board board(bench.loop.executor(), bench.clock, bench.random,
                  std::make_unique<GatheringTransport>(std::move(wire)));
      co_await used(board, run(bench, board));
    }
  };
  loop.run(Body::with(*this, stand_in_with_threads()));
}

// A wire that loses some of the bytes that are sent over it.
class LossyTransport final : public WrappedTransport {
 public:
  LossyTransport(std::unique_ptr<Transport> wire, unsigned one_in)
      : WrappedTransport(std::move(wire)), lost_(0, one_in - 1) {}

  void send(std::string_view bytes) override {
    std::string left;
    for (const char byte : bytes) {
      if (lost_(engine_) != 0) left += byte;
    }
    wire_->send(left);
  }

 private:
  std::mt19937 engine_{11};
  std::uniform_int_distribution<unsigned> lost_;
};

void on_lossy_microbit(BoardBench& bench, unsigned one_in, Async<void> (*body)(BoardBench&, Board&)) {
  struct Run {
    static Async<void> with(BoardBench& bench, unsigned one_in, Async<void> (*body)(BoardBench&, Board&)) {
      auto wire = make_transport(bench.loop.executor(), bench.clock, parse_address(microbit().address));
      LinkOptions options;
      options.repl.answer_timeout = Milliseconds(100);
      Board board(bench.loop.executor(), bench.clock, bench.random,
                  std::make_unique<LossyTransport>(std::move(wire), one_in), std::move(options));
      co_await used(board, body(bench, board));
    }
  };
  BoardBench::require(microbit());
  if (!bench.IsSkipped()) bench.loop.run(Run::with(bench, one_in, body));
}

TEST_F(LinkTest, RunsNothingThatALossyWireHasDamaged) {
  on_lossy_microbit(*this, 1500, [](BoardBench& bench, Board& board) -> Async<void> {
    co_await board.exec("total = 0", bench.soon());
    std::int64_t expected = 0;
    for (int i = 0; i < 150; ++i) {
      // Were it not checked, the loss of a digit or of a line would pass unseen.
      const std::string code = fmt::format("total += {}\ntotal += 1\n# {}\n", 100'000 + i, std::string(100, 'x'));
      co_await board.exec(code, bench.soon());
      expected += 100'001 + i;
    }
    EXPECT_EQ(co_await board.eval("total", bench.soon()), Value{expected});
    for (std::int64_t i = 0; i < 80; ++i) {
      const Function changing{"f", fmt::format("def f():\n  return {}\n", i), {"f.py", 1}};
      EXPECT_EQ(co_await board.call(changing, {}, bench.soon()), Value{i});
    }
    EXPECT_GT(board.link().statistics().damaged, 5u);
    EXPECT_EQ(board.link().boot(), 1u);
  });
}

TEST_F(LinkTest, WritesNoFileThatALossyWireHasDamaged) {
  on_lossy_microbit(*this, 700, [](BoardBench& bench, Board& board) -> Async<void> {
    std::string data;
    for (int i = 0; i < 1000; ++i) data += fmt::format("line {:04}\n", i);
    BoardFiles files(board, {.chunk = 20});  // so that what writes is most of what is sent
    co_await files.write("data.txt", data, bench.soon());
    EXPECT_EQ(co_await files.checksum("data.txt", bench.soon()), BoardFiles::checksum_of(data));
    EXPECT_GT(board.link().statistics().damaged, 5u);
    EXPECT_EQ(board.link().boot(), 1u);
  });
}

// A board that boots: for some sends it hears nothing, and what it says first is not its own.
class BootingTransport final : public WrappedTransport {
 public:
  using WrappedTransport::WrappedTransport;

  Async<std::string> receive() override {
    if (std::exchange(first_, false)) co_return "\0\xff\xfe rst:0x1 raw REPL; CTRL-B to \x04\x04>OK"s;
    co_return co_await wire_->receive();
  }
  void send(std::string_view bytes) override {
    if (deaf_ == 0) return wire_->send(bytes);
    --deaf_;
  }

 private:
  bool first_ = true;
  int deaf_ = 4;
};

TEST_F(LinkTest, FindsThePromptOfABoardThatBootsSlowlyAndSaysOtherThings) {
  const Kind kind = microbit();
  require(kind);
  if (IsSkipped()) return;
  struct Body {
    static Async<void> run(BoardBench& bench, Kind kind) {
      auto wire = make_transport(bench.loop.executor(), bench.clock, parse_address(kind.address));
      Board board(bench.loop.executor(), bench.clock, bench.random,
                  std::make_unique<BootingTransport>(std::move(wire)));
      EXPECT_EQ(co_await board.exec("print('up')", bench.soon()), "up\n");
      EXPECT_EQ(board.link().statistics().restarts, 0u);
      co_await board.close();
    }
  };
  loop.run(Body::run(*this, kind));
}

// A board at whose prompt somebody typed before.
class TypedAtTransport final : public WrappedTransport {
 public:
  TypedAtTransport(BoardBench& bench, std::unique_ptr<Transport> wire, std::string typed, std::string until)
      : WrappedTransport(std::move(wire)), bench_(bench), typed_(std::move(typed)), until_(std::move(until)) {}

  Async<void> open(Instant deadline) override {
    co_await wire_->open(deadline);
    wire_->send(typed_);
    const auto give_up = bench_.clock.set_alarm(deadline, bench_.loop.executor(), [this] { wire_->close(); });
    std::string said;
    while (said.find(until_) == std::string::npos) said += co_await wire_->receive();
  }

 private:
  BoardBench& bench_;
  const std::string typed_;
  const std::string until_;
};

TEST_F(LinkTest, GoesByNoPromptOfTheBoardsForPeople) {
  require(webassembly());
  if (IsSkipped()) return;
  struct Body {
    static Async<void> run(BoardBench& bench, std::string prompt) {
      auto wire = make_transport(bench.loop.executor(), bench.clock, parse_address(webassembly().address));
      const std::string typed = fmt::format("import sys\rsys.ps1 = {}\r1234 + 1\r", to_python(Value{prompt}));
      Board board(bench.loop.executor(), bench.clock, bench.random,
                  std::make_unique<TypedAtTransport>(bench, std::move(wire), typed, "1235\n" + prompt));
      EXPECT_EQ(co_await board.exec("import sys\nprint(sys.ps1)", bench.soon()), prompt + "\n");
      EXPECT_EQ(co_await board.eval("6 * 7", bench.soon()), Value{std::int64_t(42)});
      EXPECT_EQ(board.link().statistics().restarts, 0u);
      co_await board.close();
    }
  };
  for (const char* prompt : {"ready? ", "", ">", "OK", "\x04\x04>", "raw REPL; CTRL-B to exit\r\n>"}) {
    SCOPED_TRACE(prompt);
    loop.run(Body::run(*this, prompt));
  }
}

// A wire that cannot be opened, and notes when that was tried.
class ClosedTransport final : public Transport {
 public:
  ClosedTransport(Clock& clock, std::vector<Instant>& tried) : clock_(clock), tried_(tried) {}

  Async<void> open(Instant) override {
    tried_.push_back(clock_.instant());
    throw Error(ErrorCode::connection_failed, "closed");
    co_return;
  }
  Async<std::string> receive() override {
    throw Error(ErrorCode::connection_failed, "closed");
    co_return "";
  }
  void send(std::string_view) override {}
  bool can_restart() const override { return false; }
  Async<void> restart(Instant) override { co_return; }
  void close() override {}

 private:
  Clock& clock_;
  std::vector<Instant>& tried_;
};

TEST_F(LinkTest, WaitsLongerBeforeEachAttemptToOpenAWireAndNeverQuiteTheSame) {
  struct Body {
    static Async<void> run(BoardBench& bench) {
      ManualClock time;
      std::vector<Instant> tried;
      const Reconnection reconnection{.attempts = 6, .first = Milliseconds(100), .longest = Milliseconds(500)};
      Link link(bench.loop.executor(), time, bench.random, std::make_unique<ClosedTransport>(time, tried),
                {.reconnection = reconnection});
      bool over = false;
      struct Opening {
        static Async<void> run(Link& of, Clock& clock, bool& done) {
          const Error error = co_await error_of(of.open(clock.instant() + std::chrono::hours(1)));
          EXPECT_EQ(error.code(), ErrorCode::connection_failed);
          done = true;
        }
      };
      TaskGroup opening(bench.loop.executor());
      opening.spawn(Opening::run(link, time, over));
      while (!over) {
        for (int i = 0; i < 5; ++i) co_await sleep_until(bench.clock, bench.clock.instant());
        time.advance(Milliseconds(1));
      }
      co_await opening.join();
      EXPECT_EQ(tried.size(), 6u);
      std::size_t full = 0;
      for (std::size_t i = 1; i < tried.size(); ++i) {
        const Milliseconds most = std::min(Milliseconds(100 << (i - 1)), reconnection.longest);
        EXPECT_LE(tried[i] - tried[i - 1], most + Milliseconds(1)) << i;
        EXPECT_GE(tried[i] - tried[i - 1], most / 2) << i;
        full += tried[i] - tried[i - 1] >= most;
      }
      EXPECT_LT(full, 3u);
      co_await link.close();
    }
  };
  loop.run(Body::run(*this));
}

TEST_F(LinkTest, GetsOverABoardThatHangsWhenItIsAskedForRawPaste) {
  Kind kind = webassembly();
  kind.address += " --stuck-paste";
  with_board(kind,
             [](BoardBench& bench, Board& board) -> Async<void> {
               const std::string large = "x = '" + std::string(9000, 'x') + "'";
               const Error error = co_await error_of(board.exec(large, bench.in(Seconds(2))));
               EXPECT_EQ(error.code(), ErrorCode::call_timeout);
               co_await board.exec(large, bench.soon());
               EXPECT_EQ(co_await board.eval("len(x)", bench.soon()), Value{std::int64_t(9000)});
               EXPECT_EQ(board.link().has_raw_paste(), false);
               EXPECT_EQ(board.link().statistics().restarts, 1u);
             },
             {.grace = Milliseconds(100)});
}

// The two ends of a pseudo-terminal: a serial port that a test holds the other end of.
struct Terminal {
  Terminal() {
    char path[128];
    if (::openpty(&board, &host, path, nullptr, nullptr) != 0) throw io_error("openpty", errno);
    name = path;
  }
  ~Terminal() {
    ::close(board);
    ::close(host);
  }
  int board = -1;
  int host = -1;
  std::string name;
};

TEST_F(LinkTest, HasASerialPortToItself) {
  const Terminal terminal;
  const auto first = make_transport(loop.executor(), clock, SerialAddress{terminal.name});
  const auto second = make_transport(loop.executor(), clock, SerialAddress{terminal.name});
  struct Body {
    static Async<void> run(BoardBench& bench, const Terminal& wire, Transport& one, Transport& other) {
      co_await one.open(bench.soon());
      const Error error = co_await error_of(other.open(bench.soon()));
      EXPECT_EQ(error.code(), ErrorCode::worker_leased);
      one.send("a\n\x03");
      char bytes[8] = {};
      EXPECT_EQ(::read(wire.board, bytes, sizeof bytes), 3) << "raw: nothing is translated, no signal is sent";
      EXPECT_EQ(std::string(bytes), "a\n\x03");
      EXPECT_EQ(::write(wire.board, "\r\x04", 2), 2);
      EXPECT_EQ(co_await one.receive(), "\r\x04");
      one.close();
      co_await other.open(bench.soon());
      other.close();
    }
  };
  loop.run(Body::run(*this, terminal, *first, *second));
}

}  // namespace

}  // namespace sojourn::device
