#include "sojourn/device/board_sync.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SyncOnEveryBoard : public BoardBench {};

INSTANTIATE_TEST_SUITE_P(Real, SyncOnEveryBoard, testing::Values(microbit, webassembly),
                         [](const auto& info) { return std::string(info.param().name); });

TEST_P(SyncOnEveryBoard, SendsOnlyWhatDiffers) {
  with_board(GetParam()(), [](BoardBench& bench, Board& board) -> Async<void> {
    FileTree files{{"main.py", "print(1)\n"}, {"lib/pins.py", "LED = 2\n"}, {"data.bin", std::string(300, '\xff')}};
    std::vector<std::string> told;
    const SyncOptions telling{.on_progress = [&](const std::string& path, std::uint64_t done, std::uint64_t total) {
      EXPECT_LE(done, total);
      told.push_back(path);
    }};
    SyncReport report = co_await sync_to_board(board, files, "app", bench.soon(), telling);
    EXPECT_THAT(report.sent, ElementsAre("data.bin", "lib/pins.py", "main.py"));
    EXPECT_EQ(told, report.sent);
    EXPECT_EQ(report.kept, 0u);

    report = co_await sync_to_board(board, files, "app", bench.soon());
    EXPECT_THAT(report.sent, IsEmpty());
    EXPECT_EQ(report.kept, 3u);

    files["main.py"] = "print(2)\n";
    files.erase("lib/pins.py");
    report = co_await sync_to_board(board, files, "app", bench.soon());
    EXPECT_THAT(report.sent, ElementsAre("main.py"));
    EXPECT_EQ(report.kept, 1u);
    EXPECT_THAT(report.removed, IsEmpty()) << "nobody asked for it";

    report = co_await sync_to_board(board, files, "app", bench.soon(), {.remove_others = true});
    EXPECT_THAT(report.sent, IsEmpty());
    EXPECT_THAT(report.removed, ElementsAre("lib/pins.py"));
    EXPECT_EQ(co_await BoardFiles(board).read("app/main.py", bench.soon()), "print(2)\n");
  });
}

}  // namespace

}  // namespace sojourn::device
