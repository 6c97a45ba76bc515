#include "sojourn/device/board_files.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"

namespace sojourn::device {

namespace {

using testing::Contains;
using testing::ElementsAre;

class FilesOnEveryBoard : public BoardBench {
 public:
  void with_each(Async<void> (*body)(BoardBench&, Board&)) { with_board(GetParam()(), body); }
};

INSTANTIATE_TEST_SUITE_P(Real, FilesOnEveryBoard, testing::Values(microbit, webassembly),
                         [](const auto& info) { return std::string(info.param().name); });

std::string every_byte(std::size_t size) {
  std::string data;
  for (std::size_t i = 0; i < size; ++i) data += static_cast<char>(i * 7);
  return data;
}

TEST_P(FilesOnEveryBoard, ComeBackAsTheyWereWritten) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    std::vector<std::uint64_t> progress;
    BoardFiles files(
        board, {.chunk = 100, .on_progress = [&](std::uint64_t done, std::uint64_t) { progress.push_back(done); }});
    for (const std::size_t size : {0u, 1u, 100u, 731u}) {
      co_await files.write("data.bin", every_byte(size), bench.soon());
      EXPECT_EQ(co_await files.read("data.bin", bench.soon()), every_byte(size));
      EXPECT_EQ(co_await files.stat("data.bin", bench.soon()), (BoardFile{"data.bin", size, false}));
    }
    EXPECT_THAT(progress, Contains(700u));
    EXPECT_EQ(co_await files.checksum("data.bin", bench.soon()), BoardFiles::checksum_of(every_byte(731)));
  });
}

TEST_P(FilesOnEveryBoard, AreListedAndRemoved) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    BoardFiles files(board);
    co_await files.write("b.txt", "two", bench.soon());
    co_await files.write("a.txt", "1", bench.soon());
    const BoardFile a{"a.txt", 1, false};
    const BoardFile b{"b.txt", 3, false};
    EXPECT_THAT(co_await files.list(".", bench.soon()), testing::IsSupersetOf({a, b}));
    co_await files.remove("a.txt", bench.soon());
    EXPECT_EQ(co_await files.stat("a.txt", bench.soon()), std::nullopt);
    const Error error = co_await error_of(files.read("a.txt", bench.soon()));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_EQ(error.details().at("class"), "file_system");
  });
}

class BoardFilesTest : public BoardBench {};

TEST_F(BoardFilesTest, HaveFoldersWhereTheBoardHas) {
  with_board(webassembly(), [](BoardBench& bench, Board& board) -> Async<void> {
    BoardFiles files(board);
    co_await files.make_folder("lib", bench.soon());
    co_await files.write("lib/x.py", "y = 3", bench.soon());
    EXPECT_EQ((co_await files.stat("lib", bench.soon()))->is_folder, true);
    EXPECT_THAT(co_await files.list("lib", bench.soon()), ElementsAre(BoardFile{"x.py", 5, false}));
    co_await files.remove("lib/x.py", bench.soon());
    co_await files.remove("lib", bench.soon());
    EXPECT_EQ(co_await files.stat("lib", bench.soon()), std::nullopt);
  });
}

TEST_P(FilesOnEveryBoard, GoOnWhereTheyWereBrokenOff) {
  with_each([](BoardBench& bench, Board& board) -> Async<void> {
    const std::string data = every_byte(900);
    std::vector<std::uint64_t> progress;
    bool breaks = true;
    const FileOptions options{.chunk = 100, .resume = true, .on_progress = [&](std::uint64_t done, std::uint64_t) {
                                progress.push_back(done);
                                if (breaks && done == 400)
                                  throw Error(ErrorCode::connection_failed, "the wire is lost");
                              }};
    const Error error = co_await error_of(BoardFiles(board, options).write("data.bin", data, bench.soon()));
    EXPECT_EQ(error.code(), ErrorCode::connection_failed);
    breaks = false;
    progress.clear();
    BoardFiles files(board, options);
    co_await files.write("data.bin", data, bench.soon());
    const bool appends = (co_await board.capabilities(bench.soon())).platform != "microbit";
    EXPECT_EQ(progress.front(), appends ? 400u : 0u);
    EXPECT_EQ(co_await files.read("data.bin", bench.soon()), data);

    // Another content is not taken for the beginning of this one.
    co_await files.write("data.bin", std::string(1000, 'z'), bench.soon());
    EXPECT_EQ(co_await files.read("data.bin", bench.soon()), std::string(1000, 'z'));
  });
}

// Fills the heap of a micro:bit but for many holes of 100 bytes and one of 1.8 kB.
constexpr const char* heap_in_pieces =
    "p=[None]*70\n"
    "try:\n"
    " for i in range(70):p[i]=bytearray(100)\n"
    "except MemoryError:pass\n"
    "for i in range(70):\n"
    " if i%2 or 16<i<31:p[i]=None\n";

TEST_F(BoardFilesTest, FitAHeapThatIsInPieces) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    BoardFiles files(board);
    const std::string data = every_byte(700);
    co_await files.write("data.bin", data, bench.soon());
    co_await board.exec(heap_in_pieces, bench.soon());
    EXPECT_EQ(co_await files.read("data.bin", bench.soon()), data);
    co_await files.write("other.bin", data, bench.soon());
    EXPECT_EQ(co_await files.read("other.bin", bench.soon()), data);
    EXPECT_EQ(board.link().boot(), 1u);
  });
}

TEST_F(BoardFilesTest, LeaveNoHalfFileWhereThereIsNoRoom) {
  with_board(microbit(), [](BoardBench& bench, Board& board) -> Async<void> {
    BoardFiles files(board);
    const Error error = co_await error_of(files.write("large", every_byte(60'000), bench.soon()));
    EXPECT_TRUE(error.code() == ErrorCode::app_error || error.code() == ErrorCode::protocol_error) << error.message();
    EXPECT_EQ(co_await files.stat("large", bench.soon()), std::nullopt);
    co_await files.write("small", "fits", bench.soon());
    EXPECT_EQ(co_await files.read("small", bench.soon()), "fits");
  });
}

}  // namespace

}  // namespace sojourn::device
