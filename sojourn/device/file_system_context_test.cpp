#include "sojourn/device/file_system_context.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"
#include "sojourn/device/device_session.hpp"

namespace sojourn::device {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::UnorderedElementsAre;

// A session on each kind of board, which is abandoned where the test did not end it.
class FileSystemContextTest : public BoardBench {
 public:
  using Body = Async<void> (*)(BoardBench&, DeviceSession&);

  void with_session(Body body) {
    session_body = body;
    with_board(GetParam()(), begin);
  }

  static Async<void> begin(BoardBench& bench, Board& board) {
    DeviceSession session("s1", board, co_await board.capabilities(bench.soon()), bench.loop.executor(), bench.clock,
                          {});
    struct Abandonment {
      DeviceSession& of;
      ~Abandonment() { of.abandon(); }
    } const abandonment{session};
    co_await session_body(bench, session);
  }

  static std::uint64_t runs(DeviceSession& session) { return session.board().link().statistics().runs; }

  static inline Body session_body;
};

INSTANTIATE_TEST_SUITE_P(Real, FileSystemContextTest, testing::Values(microbit, webassembly),
                         [](const auto& info) { return std::string(info.param().name); });

TEST_P(FileSystemContextTest, AsksForNothingTwiceUntilItMayHaveChanged) {
  with_session([](BoardBench& bench, DeviceSession& session) -> Async<void> {
    FileSystemContext& files = session.files();
    const auto size = [](const std::optional<BoardFile>& file) { return file ? file->size : 0; };
    co_await files.write("a.txt", "four", bench.soon());
    EXPECT_EQ(co_await files.read("a.txt", bench.soon()), "four");
    EXPECT_EQ(size(co_await files.stat("a.txt", bench.soon())), 4u);
    EXPECT_EQ(co_await files.stat("b.txt", bench.soon()), std::nullopt);
    co_await files.list(".", bench.soon());
    const std::uint64_t asked = runs(session);
    EXPECT_EQ(size(co_await files.stat("./a.txt", bench.soon())), 4u);
    EXPECT_EQ(co_await files.stat("/b.txt", bench.soon()), std::nullopt);
    co_await files.list("/", bench.soon());
    EXPECT_EQ(runs(session), asked);
    EXPECT_THAT(files.state().files, UnorderedElementsAre(Key("/a.txt"), Key("/b.txt")));
    EXPECT_THAT(files.state().folders, ElementsAre(Key("/")));

    co_await files.write("b.txt", "seven..", bench.soon());
    EXPECT_THAT(files.state().files, ElementsAre(Key("/a.txt"))) << "only what is about the other is forgotten";
    EXPECT_THAT(files.state().folders, IsEmpty());
    EXPECT_EQ(size(co_await files.stat("b.txt", bench.soon())), 7u);
    co_await files.remove("b.txt", bench.soon());
    EXPECT_EQ(co_await files.stat("b.txt", bench.soon()), std::nullopt);

    co_await session.exec("f = open('b.txt', 'w')\nf.write('xy')\nf.close()", bench.soon());
    EXPECT_EQ(size(co_await files.stat("b.txt", bench.soon())), 2u) << "code may have written it";
    files.invalidate("/");
    EXPECT_THAT(files.state().files, IsEmpty());
    co_await files.stat("b.txt", bench.soon());
    co_await session.board().soft_reset(bench.soon());
    EXPECT_THAT(files.state().files, IsEmpty());
    co_await files.stat("b.txt", bench.soon());
    co_await session.end();
    EXPECT_THAT(files.state().files, IsEmpty());
    EXPECT_EQ((co_await error_of(files.stat("b.txt", bench.soon()))).code(), ErrorCode::session_ended);
  });
}

TEST_P(FileSystemContextTest, LogsItsOperations) {
  with_session([](BoardBench& bench, DeviceSession& session) -> Async<void> {
    FileSystemContext& files = session.files();
    const Time start = bench.clock.now();
    co_await files.write("a.txt", "four", bench.soon());
    co_await files.read("a.txt", bench.soon());
    co_await error_of(files.read("none.txt", bench.soon()));
    FileTree tree{{"a.txt", "four"}, {"c.txt", "three"}};
    EXPECT_THAT((co_await files.sync(tree, ".", bench.soon())).sent, ElementsAre("c.txt"));
    files.register_operation({.path = "log.txt", .bytes = 9, .at = bench.clock.now()});
    std::string log;
    for (const FileOperation& operation : files.operations()) {
      EXPECT_GE(operation.at, start);
      log += std::string(to_string(operation.kind)) + ' ' + operation.path + ' ' + std::to_string(operation.bytes);
      log += operation.failure ? " failed; " : "; ";
    }
    EXPECT_EQ(log, "write a.txt 4; read a.txt 4; read none.txt 0 failed; sync . 5; other log.txt 9; ");
    EXPECT_EQ(files.operations()[2].failure, ErrorCode::app_error);
    EXPECT_GT(files.operations()[0].took, Microseconds(0));
    for (std::size_t i = 0; i < FileSystemContext::most_logged; ++i) files.register_operation({.path = "x"});
    EXPECT_EQ(files.operations().size(), FileSystemContext::most_logged);
    EXPECT_EQ(files.operations().front().path, "x");
    EXPECT_EQ(files.state().operations, FileSystemContext::most_logged + 5);
    co_await session.end();
  });
}

TEST_P(FileSystemContextTest, RemovesTemporaryFilesAtTheEndNewestFirst) {
  with_session([](BoardBench& bench, DeviceSession& session) -> Async<void> {
    FileSystemContext& files = session.files();
    co_await files.write("kept.txt", "x", bench.soon());
    co_await files.write_temporary("one.txt", "1", bench.soon());
    co_await files.write_temporary("gone.txt", "2", bench.soon());
    co_await files.write_temporary("two.txt", "3", bench.soon());
    co_await files.write_temporary("done.txt", "4", bench.soon());
    files.register_temporary("never.txt");
    EXPECT_THROW(files.register_temporary("./one.txt"), Error) << "it is one already";
    co_await session.exec("import os\nos.remove('gone.txt')", bench.soon());
    co_await files.remove("done.txt", bench.soon());
    EXPECT_EQ(session.resource_stats().resources_by_type.at("file"), 4u);
    EXPECT_THAT(files.state().temporary, ElementsAre("/one.txt", "/gone.txt", "/two.txt", "/never.txt"));
    co_await session.end();
    std::vector<std::string> removed;
    for (const FileOperation& operation : files.operations()) {
      if (operation.kind == FileOperationKind::remove) removed.push_back(operation.path);
    }
    EXPECT_THAT(removed, ElementsAre("done.txt", "two.txt", "one.txt"));
    std::vector<std::string> left;
    for (const BoardFile& file : co_await BoardFiles(session.board()).list(".", bench.soon())) {
      if (file.name.ends_with(".txt")) left.push_back(file.name);
    }
    EXPECT_THAT(left, ElementsAre("kept.txt"));
  });
}

TEST_F(FileSystemContextTest, TellsOfATemporaryFileThatCannotBeRemoved) {
  session_body = [](BoardBench& bench, DeviceSession& session) -> Async<void> {
    FileSystemContext& files = session.files();
    co_await files.make_folder("full", bench.soon());
    co_await files.write("full/a.txt", "x", bench.soon());
    EXPECT_EQ((co_await files.list("full", bench.soon())).size(), 1u);
    files.register_temporary("full");
    co_await files.write_temporary("plain.txt", "x", bench.soon());
    const Error error = co_await error_of(session.end());
    EXPECT_EQ(error.code(), ErrorCode::cleanup_failed);
    const JsonArray& failures = error.details().at("failures").as_array();
    EXPECT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures.at(0).at("id"), Json("file:/full"));
    EXPECT_EQ(failures.at(0).at("kind"), Json("file"));
    EXPECT_EQ(co_await BoardFiles(session.board()).stat("plain.txt", bench.soon()), std::nullopt);
  };
  with_board(webassembly(), begin);
}

}  // namespace

}  // namespace sojourn::device
