#include "sojourn/device/board.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::HasSubstr;
using testing::StartsWith;

class EveryBoard : public BoardBench {
 public:
  void with_each(Async<void> (*body)(BoardBench&, Board&), LinkOptions options = {}) {
    with_board(GetParam()(), body, std::move(options));
  }
};

INSTANTIATE_TEST_SUITE_P(Real, EveryBoard, testing::Values(microbit, webassembly, webassembly_with_paste),
                         [](const auto& info) { return std::string(info.param().name); });

const Function add{"add", "def add(a, b):\n  return a + b\n", {"host.py", 10}};

TEST_P(EveryBoard, PrintsAndKeepsWhatIsDefined) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    EXPECT_EQ(co_await board.exec("x = 20\nprint('hello')", bench.soon()), "hello\n");
    EXPECT_EQ(co_await board.exec("print(x + 1)\nprint('a\\r\\nb')", bench.soon()), "21\na\r\nb\n");
  });
}

TEST_P(EveryBoard, GivesValuesAsValues) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    EXPECT_EQ(co_await board.eval("1 << 70", bench.soon()), Value{BigInteger{"1180591620717411303424"}});
    EXPECT_EQ(co_await board.eval("-7", bench.soon()), Value{std::int64_t(-7)});
    EXPECT_EQ(co_await board.eval("0.5", bench.soon()), Value{0.5});
    EXPECT_EQ(co_await board.eval("None", bench.soon()), Value{None{}});
    EXPECT_EQ(co_await board.eval("b'\\x00\\x04\\xff\\''", bench.soon()),
              Value{Bytes{std::string("\0\x04\xff'", 4)}});
    EXPECT_EQ(co_await board.eval("'\\x04>\\u00e9\"\\n\\''", bench.soon()), Value{std::string("\x04>\u00e9\"\n'")});
    const Value nested{
        List{{Value{Tuple{{Value{std::int64_t(1)}}}}, Value{Dict{{{Value{std::string("k")}, Value{true}}}}}}}};
    EXPECT_EQ(co_await board.eval("[(1,), {'k': True}]", bench.soon()), nested);
    EXPECT_TRUE(std::holds_alternative<Opaque>((co_await board.eval("print", bench.soon())).is));
  });
}

TEST_P(EveryBoard, KeepsOutputThatLooksLikeTheProtocol) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    EXPECT_EQ(co_await board.exec("print('\\x04\\x04>OK\\x04>')", bench.soon()), "\x04\x04>OK\x04>\n");
    std::string euros = "Error: no ";
    for (int i = 0; i < 700; ++i) euros += "\u20ac";
    // In parts, for a micro:bit's heap has not always 2 KB in one piece.
    const std::string in_parts =
        "print('Error: no', end=' ')\nfor _ in range(7): print('\\u20ac' * 100, end='')\nprint()";
    EXPECT_EQ(co_await board.exec(in_parts, bench.soon()), euros + "\n");
  });
}

TEST_P(EveryBoard, MapsTracebacksToTheHost) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const Function divide{"divide", "def divide(a):\n  return 1 // a\n", {"maths.py", 40}};
    const std::vector<Value> zero{Value{std::int64_t(0)}};
    const Error error = co_await error_of(board.call(divide, zero, bench.soon(), {.place = {"main.cpp", 5}}));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_THAT(error.message(), StartsWith("ZeroDivisionError: "));
    EXPECT_THAT(error.message(), HasSubstr("(maths.py:41, in divide)"));
    EXPECT_EQ(error.details().at("frames").as_array().front().at("file"), "main.cpp");
    const Error syntax = co_await error_of(board.exec("x = 1\ny = (", bench.soon(), {.place = {"main.cpp", 7}}));
    EXPECT_EQ(syntax.details().at("class"), "syntax");
    EXPECT_EQ(syntax.details().at("frames").as_array().front().at("file"), "main.cpp");
  });
}

TEST_P(EveryBoard, DeploysAFunctionOnceAndAgainAfterAReset) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const std::vector<Value> arguments{Value{std::int64_t(2)}, Value{std::int64_t(3)}};
    EXPECT_EQ(co_await board.call(add, arguments, bench.soon()), Value{std::int64_t(5)});
    const auto runs = board.link().statistics().runs;
    EXPECT_EQ(co_await board.call(add, arguments, bench.soon()), Value{std::int64_t(5)});
    EXPECT_EQ(board.link().statistics().runs, runs + 1);
    const auto boot = board.link().boot();
    co_await board.soft_reset(bench.soon());
    EXPECT_GT(board.link().boot(), boot);
    EXPECT_FALSE(board.is_deployed(add));
    EXPECT_EQ(co_await board.call(add, arguments, bench.soon()), Value{std::int64_t(5)});
    const Error gone = co_await error_of(board.eval("x", bench.soon()));
    EXPECT_EQ(gone.details().at("type"), "NameError");
  });
}

TEST_P(EveryBoard, GivesAFunctionItsValuesHoweverTheyTravel) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const Function same{"same", "def same(*a):return list(a)", {"host.py", 1}};
    const List inner{{Value{std::int64_t(1)}, Value{std::string("(2,")}}};
    const std::vector<std::vector<Value>> all{
        {},
        {Value{std::int64_t(-7)}},
        {Value{std::string("a b")}, Value{None{}}, Value{true}, Value{std::numeric_limits<std::int64_t>::min()}},
        {Value{0.5}},
        {Value{std::string("it's \"\\\n\u00e9")}},
        {Value{std::string(300, 'x')}},
        {Value{Bytes{"\x04\xff"}}, Value{inner}}};
    for (const std::vector<Value>& values : all) {
      EXPECT_EQ(co_await board.call(same, values, bench.soon()), Value{List{values}});
      const std::string repr = exact_repr(values);
      if (repr.empty()) continue;
      EXPECT_EQ(co_await board.eval(fmt::format("repr({})", repr), bench.soon()), Value{repr});
    }
    co_await board.exec("def same(*a):return 'another'", bench.soon());
    EXPECT_EQ(co_await board.call(same, {}, bench.soon()), Value{std::string("another")}) << "it goes by its name";
    co_await board.remove("same", bench.soon());
    EXPECT_EQ(co_await board.eval("[n for n in globals() if n[:2] == '_j']", bench.soon()),
              Value{List{{Value{std::string("_j")}}}});
  });
}

TEST_P(EveryBoard, NoticesThatAHandleIsGone) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const std::vector<Value> arguments{Value{std::int64_t(2)}, Value{std::int64_t(3)}};
    EXPECT_EQ(co_await board.call(add, arguments, bench.soon()), Value{std::int64_t(5)});
    const auto boot = board.link().boot();
    co_await board.exec("del _j0", bench.soon());
    EXPECT_EQ(co_await board.call(add, arguments, bench.soon()), Value{std::int64_t(5)});
    EXPECT_GT(board.link().boot(), boot) << "that looks like a board that started anew";
  });
}

// What a wire that loses bytes may leave of a call, and is whole Python all the same.
TEST_P(EveryBoard, RunsNothingWhoseCallerIsDamaged) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const Function keep{"keep", "def keep(b):\n  ran.append(b)\n", {"host.py", 1}, Calls::with_bytes};
    co_await board.exec("ran = []\nexe = lambda c: ran.append(c)", bench.soon());
    co_await board.apply(keep, "first", bench.soon());
    const auto without = [](CheckedCode code, std::string_view lost) {
      code.text.erase(code.text.rfind(lost), lost.size());
      return code;
    };
    const CheckedCode statements = checked_code("ran.append(1)", CodeKind::statements);
    const CheckedCode definitions = checked_code("ran.append(1)", CodeKind::definitions);
    const std::vector<CheckedCode> damaged{without(statements, ",exec"), without(statements, "c"),
                                           without(definitions, "[1]"),
                                           without(definitions, ",(__import__('gc').collect(),exec)[1]"),
                                           without(checked_bytes(0, "ran.append(1)"), "0")};
    for (const CheckedCode& code : damaged) {
      const Error error = co_await error_of(board.link().run({.call = code}, bench.soon()));
      EXPECT_EQ(error.code(), ErrorCode::connection_failed) << code.text;
    }
    EXPECT_EQ(co_await board.eval("ran", bench.soon()), Value{List{{Value{Bytes{"first"}}}}});
  });
}

TEST_P(EveryBoard, RunsCodeOfEveryLength) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    for (const std::size_t length : {127u, 128u, 129u, 256u}) {
      const std::string code = "print(1)" + std::string(length - 8, ' ');
      EXPECT_EQ(co_await board.exec(code, bench.soon()), "1\n") << length;
      EXPECT_EQ(co_await board.eval("1" + std::string(length - 1, ' '), bench.soon()), Value{std::int64_t(1)});
    }
  });
}

// Remembers `known`, and returns what the board is then found to have.
Async<std::vector<std::string>> modules_after(BoardBench& bench, Board& board, Capabilities known) {
  board.remember(std::move(known));
  co_return (co_await board.capabilities(bench.soon())).modules;
}

TEST_P(EveryBoard, IsAskedInFullOnceForEachDeviceAndFirmware) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const Capabilities first = co_await board.capabilities(bench.soon());
    Capabilities known = first;
    known.modules = {"remembered"};
    EXPECT_EQ(co_await modules_after(bench, board, known), known.modules);
    co_await board.soft_reset(bench.soon());
    const auto runs = board.link().statistics().runs;
    const Capabilities again = co_await board.capabilities(bench.soon());
    EXPECT_EQ(again.modules, known.modules);
    EXPECT_EQ(board.link().statistics().runs, runs + 1) << "whether it is the same";
    EXPECT_EQ(again.id, first.id);

    for (std::string Capabilities::* what : {&Capabilities::version, &Capabilities::id, &Capabilities::machine}) {
      Capabilities other = known;
      other.*what += "1";
      EXPECT_EQ(co_await modules_after(bench, board, other), first.modules);
    }
  });
}

TEST_P(EveryBoard, SaysWhatItCanDo) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const Capabilities found = co_await board.capabilities(bench.soon());
    EXPECT_EQ(found.implementation, "micropython");
    EXPECT_EQ(found.platform, GetParam()().platform);
    EXPECT_EQ(found.version, found.platform == "microbit" ? "1.9.2" : "1.27.0");
    EXPECT_GT(found.heap_free, 1000u);
    EXPECT_EQ(found.has("microbit"), found.platform == "microbit");
    EXPECT_EQ(found.has("json"), found.platform == "webassembly");
    const auto runs = board.link().statistics().runs;
    EXPECT_EQ(co_await board.capabilities(bench.soon()), found);
    EXPECT_EQ(board.link().statistics().runs, runs);
  });
}

}  // namespace

}  // namespace sojourn::device
