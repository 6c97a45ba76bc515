#include "sojourn/device/board_object.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

class ObjectsOnEveryBoard : public BoardBench {};

INSTANTIATE_TEST_SUITE_P(Real, ObjectsOnEveryBoard, testing::Values(microbit, webassembly),
                         [](const auto& info) { return std::string(info.param().name); });

Value number(std::int64_t n) {
  return {n};
}

TEST_P(ObjectsOnEveryBoard, GiveTheirAttributesItemsAndMethods) {
  with_board(GetParam()(), [](BoardBench& bench, Board& board) -> Async<void> {
    co_await board.exec("class Pin:\n level=0\n def add(self,a,b):return a+b+self.level\n", bench.soon());
    BoardObject pin = co_await BoardObject::make(board, "Pin()", bench.soon());
    BoardObject table = co_await BoardObject::make(board, "{'a':7}", bench.soon());
    co_await pin.set("level", number(3), bench.soon());
    EXPECT_EQ(co_await pin.get("level", bench.soon()), number(3));
    EXPECT_EQ(co_await pin.call("add", {number(1), number(2)}, bench.soon()), number(6));
    EXPECT_EQ(co_await table.item({std::string("a")}, bench.soon()), number(7));
    const Error error = co_await error_of(pin.get("colour", bench.soon()));
    EXPECT_EQ(error.details().at("type"), "AttributeError");

    co_await pin.release(bench.soon());
    EXPECT_EQ((co_await error_of(pin.get("level", bench.soon()))).details().at("type"), "NameError");
    co_await board.soft_reset(bench.soon());
    EXPECT_EQ((co_await error_of(table.item({std::string("a")}, bench.soon()))).code(), ErrorCode::worker_lost);
    co_await table.release(bench.soon());
  });
}

TEST_P(ObjectsOnEveryBoard, AreGeneratorsToo) {
  with_board(GetParam()(), [](BoardBench& bench, Board& board) -> Async<void> {
    const Function count{
        "count", "def count(n):\n for i in range(n):\n  got=yield i\n  if got:yield got\n", {"count.py", 1}};
    BoardObject counter = co_await BoardObject::make(board, count, {number(2)}, bench.soon());
    EXPECT_EQ(co_await counter.next(bench.soon()), number(0));
    EXPECT_EQ(co_await counter.send({std::string("x")}, bench.soon()), Value{std::string("x")});
    EXPECT_EQ(co_await counter.next(bench.soon()), number(1));
    EXPECT_EQ(co_await counter.next(bench.soon()), std::nullopt);
    EXPECT_EQ(co_await counter.next(bench.soon()), std::nullopt);

    BoardObject nones = co_await BoardObject::make(board, "iter([None])", bench.soon());
    EXPECT_EQ(co_await nones.next(bench.soon()), Value{None{}}) << "that is no end";
    EXPECT_EQ(co_await nones.next(bench.soon()), std::nullopt);
  });
}

TEST_P(ObjectsOnEveryBoard, HaveTheBoardsClockBesideThem) {
  with_board(GetParam()(), [](BoardBench& bench, Board& board) -> Async<void> {
    const BoardTime first = co_await read_time(board, bench.clock, bench.soon());
    const BoardTime second = co_await read_time(board, bench.clock, bench.soon(), 1);
    // What passed on both clocks between two readings is the same, but for what the readings leave open.
    const auto here = std::chrono::duration_cast<Microseconds>(second.at - first.at);
    const auto there = std::chrono::duration_cast<Microseconds>(second.ticks - first.ticks);
    EXPECT_LE(abs(here - there), first.accuracy + second.accuracy + Milliseconds(100));
    EXPECT_GT(first.accuracy, Microseconds(0));
  });
}

}  // namespace

}  // namespace sojourn::device
