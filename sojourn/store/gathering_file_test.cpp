#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/store/layered_vfs.hpp"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sojourn::store {
namespace {

// A log that is open by the VFS, as SQLite would have it open.
class OpenLog {
 public:
  explicit OpenLog(std::string path)
      : path_(std::move(path)),
        vfs_(sqlite3_vfs_find(layered_vfs())),
        bytes_(static_cast<std::size_t>(vfs_->szOsFile)) {
    constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL;
    EXPECT_EQ(vfs_->xOpen(vfs_, path_.c_str(), file(), flags, nullptr), SQLITE_OK);
  }
  ~OpenLog() { close(); }
  OpenLog(const OpenLog&) = delete;
  OpenLog& operator=(const OpenLog&) = delete;

  int write(const std::string& text, sqlite3_int64 offset) {
    return file()->pMethods->xWrite(file(), text.data(), static_cast<int>(text.size()), offset);
  }
  std::string read(int size, sqlite3_int64 offset) {
    std::string text(static_cast<std::size_t>(size), '\0');
    EXPECT_EQ(file()->pMethods->xRead(file(), text.data(), size, offset), SQLITE_OK);
    return text;
  }
  int read_result() {
    char byte = 0;
    return file()->pMethods->xRead(file(), &byte, 1, 0);
  }
  int sync() { return file()->pMethods->xSync(file(), SQLITE_SYNC_NORMAL); }
  int truncate(sqlite3_int64 size) { return file()->pMethods->xTruncate(file(), size); }
  sqlite3_int64 size() {
    sqlite3_int64 size = 0;
    EXPECT_EQ(file()->pMethods->xFileSize(file(), &size), SQLITE_OK);
    return size;
  }
  int close() {
    const int result = file()->pMethods == nullptr ? SQLITE_OK : file()->pMethods->xClose(file());
    file()->pMethods = nullptr;
    return result;
  }

 private:
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(bytes_.data()); }

  std::string path_;  // SQLite keeps the name that it is given, for the first sync
  sqlite3_vfs* vfs_;
  std::vector<char> bytes_;
};

class GatheringFileTest : public ::testing::Test {
 protected:
  GatheringFileTest() { log_ = std::make_unique<OpenLog>(path()); }

  std::string path() const { return (folder_.path() / "log").string(); }
  std::string on_disk() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryFolder folder_;
  std::unique_ptr<OpenLog> log_;
};

TEST_F(GatheringFileTest, HandsWhatIsAppendedOverAtTheSync) {
  EXPECT_EQ(log_->write("head", 0), SQLITE_OK);
  EXPECT_EQ(log_->write("page", 4), SQLITE_OK);
  EXPECT_EQ(on_disk(), "");
  EXPECT_EQ(log_->sync(), SQLITE_OK);
  EXPECT_EQ(on_disk(), "headpage");
}

TEST_F(GatheringFileTest, GoesOnAfterASync) {
  log_->write("one", 0);
  log_->sync();
  log_->write("two", 3);
  log_->sync();
  EXPECT_EQ(on_disk(), "onetwo");
}

TEST_F(GatheringFileTest, ReadsAndMeasuresWhatWasWrittenBeforeASync) {
  log_->write("headpage", 0);
  EXPECT_EQ(log_->size(), 8);
  log_->write("more", 8);
  EXPECT_EQ(log_->read(4, 8), "more");
}

TEST_F(GatheringFileTest, KeepsTheOrderOfWritesThatDoNotFollowOneAnother) {
  log_->write("aaaa", 0);
  log_->write("b", 1);
  log_->write("cc", 6);
  log_->sync();
  EXPECT_EQ(on_disk(), std::string("abaa\0\0cc", 8));
}

TEST_F(GatheringFileTest, TruncatesWhatWasGatheredToo) {
  log_->write("headpage", 0);
  EXPECT_EQ(log_->truncate(4), SQLITE_OK);
  log_->write("next", 4);
  log_->sync();
  EXPECT_EQ(on_disk(), "headnext");
}

TEST_F(GatheringFileTest, HandsOverMoreThanItGathersAtOnce) {
  std::string all;
  for (int page = 0; page < 100; ++page) {
    const std::string text(4'120, static_cast<char>('a' + page % 26));
    EXPECT_EQ(log_->write(text, static_cast<sqlite3_int64>(all.size())), SQLITE_OK);
    all += text;
  }
  EXPECT_EQ(log_->sync(), SQLITE_OK);
  EXPECT_EQ(on_disk(), all);
}

TEST_F(GatheringFileTest, HandsOverTheRestWhenItIsClosed) {
  log_->write("head", 0);
  EXPECT_EQ(log_->close(), SQLITE_OK);
  EXPECT_EQ(on_disk(), "head");
}

TEST_F(GatheringFileTest, ReportsAtTheSyncWhatCouldNotBeWritten) {
  OpenLog full("/dev/full");
  EXPECT_EQ(full.write("page", 0), SQLITE_OK);
  EXPECT_EQ(full.sync() & 0xFF, SQLITE_FULL);
}

TEST_F(GatheringFileTest, AReadThatLosesWhatWasGatheredEndsTheTransaction) {
  OpenLog full("/dev/full");
  EXPECT_EQ(full.write("page", 0), SQLITE_OK);
  EXPECT_EQ(full.read_result() & 0xFF, SQLITE_IOERR);
}

}  // namespace
}  // namespace sojourn::store
