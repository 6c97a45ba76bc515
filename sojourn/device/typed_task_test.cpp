#include "sojourn/device/typed_task.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/session_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::HasSubstr;

class TypedTaskTest : public SessionBench {};

TEST_F(TypedTaskTest, GoesThereAndBackInTypesOfItsOwn) {
  with_manager(microbit(), [](SessionBench& bench, Board& board, DeviceSessionManager& manager) -> Async<void> {
    const auto session = co_await manager.create(board);
    using Counts = std::map<std::string, int>;
    const TypedTask<Counts(std::vector<std::string>)> count{
        {.function = {"count",
                      "def count(words):\n  c = {}\n  for w in words: c[w] = c.get(w, 0) + 1\n  return c\n",
                      {"count.py", 5}}}};
    EXPECT_EQ(co_await count.call(*session, bench.soon(), {"a", "b", "a"}), (Counts{{"a", 2}, {"b", 1}}));
    const TypedTask<double(std::int64_t, std::optional<double>)> half{
        {.function = {"half", "def half(n, by):\n  return n / (by or 2)\n"}}};
    EXPECT_EQ(co_await half.call(*session, bench.soon(), 3, std::nullopt), 1.5);
    EXPECT_EQ(co_await half.call(*session, bench.soon(), 3, 4.0), 0.75);
    const TypedTask<void(Bytes)> keep{{.function = {"keep", "def keep(b):\n  global kept\n  kept = b\n"}}};
    co_await keep.call(*session, bench.soon(), Bytes{std::string("\0\xff", 2)});
    EXPECT_EQ(co_await session->eval("kept", bench.soon()), (Value{Bytes{std::string("\0\xff", 2)}}));
    const TypedTask<int(std::vector<std::string>)> wrong{count.task};
    const Error error = co_await error_of(wrong.call(*session, bench.soon(), {"a"}));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_THAT(error.message(), HasSubstr("count() returned {'a':1}"));
    EXPECT_THAT(error.message(), HasSubstr("(count.py:5)"));
  });
}

TEST(PythonTypes, TakeOnlyWhatFits) {
  EXPECT_EQ(from_value<std::uint8_t>(parse_repr("256")), std::nullopt);
  EXPECT_EQ(from_value<std::uint8_t>(parse_repr("-1")), std::nullopt);
  EXPECT_EQ(from_value<std::uint8_t>(parse_repr("255")), 255);
  EXPECT_EQ(from_value<bool>(parse_repr("1")), std::nullopt);
  EXPECT_EQ(from_value<int>(parse_repr("True")), std::nullopt);
  EXPECT_EQ(from_value<double>(parse_repr("2")), 2.0);
  EXPECT_EQ(from_value<double>(parse_repr("'2'")), std::nullopt);
  EXPECT_EQ(from_value<std::optional<int>>(parse_repr("None")).value(), std::nullopt);
  EXPECT_EQ(from_value<std::optional<int>>(parse_repr("'x'")), std::nullopt);
  EXPECT_EQ(from_value<std::vector<int>>(parse_repr("(1, 2)")), (std::vector{1, 2}));
  EXPECT_EQ(from_value<std::vector<int>>(parse_repr("[1, 'x']")), std::nullopt);
  EXPECT_EQ(to_python(to_value(std::numeric_limits<std::uint64_t>::max())), "18446744073709551615");
  EXPECT_EQ(to_value(std::optional<int>()), Value{None{}});
  EXPECT_EQ(to_value(std::vector<bool>{true, false}), parse_repr("[True, False]"));
}

}  // namespace

}  // namespace sojourn::device
