#include "sojourn/store/paced_file.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace sojourn::store {
namespace {

constexpr int page_bytes = 4'096;
constexpr int pages_of_a_part = static_cast<int>(paced_bytes) / page_bytes;

// A disk that only counts.
struct CountingFile : sqlite3_file {
  int writes;
  int syncs;
  int sync_result;
};

CountingFile& counting(sqlite3_file* file) {
  return *static_cast<CountingFile*>(file);
}

int open_counting(sqlite3_vfs*, const char*, sqlite3_file* file, int, int*) {
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods own{};
    own.iVersion = 1;
    own.xClose = [](sqlite3_file*) { return SQLITE_OK; };
    own.xWrite = [](sqlite3_file* written, const void*, int, sqlite3_int64) {
      ++counting(written).writes;
      return SQLITE_OK;
    };
    own.xSync = [](sqlite3_file* synced, int) {
      ++counting(synced).syncs;
      return counting(synced).sync_result;
    };
    return own;
  }();
  file->pMethods = &methods;
  return SQLITE_OK;
}

class OpenFile {
 public:
  explicit OpenFile(const char* name = "database") {
    sqlite3_vfs below{};
    below.xOpen = open_counting;
    EXPECT_EQ(open_paced(below, name, file(), SQLITE_OPEN_MAIN_DB, nullptr), SQLITE_OK);
  }
  ~OpenFile() { file()->pMethods->xClose(file()); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int write_pages(int count) {
    int result = SQLITE_OK;
    for (int page = 0; page < count && result == SQLITE_OK; ++page) {
      result = file()->pMethods->xWrite(file(), page_.data(), page_bytes, sqlite3_int64{page} * page_bytes);
    }
    return result;
  }
  int sync() { return file()->pMethods->xSync(file(), SQLITE_SYNC_NORMAL); }
  CountingFile& disk() { return counting(static_cast<LayeredFile*>(file())->below()); }

 private:
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(bytes_.data()); }

  std::array<char, page_bytes> page_{};
  std::vector<char> bytes_ = std::vector<char>(LayeredFile::own_bytes + sizeof(CountingFile));
};

TEST(PacedFile, SyncsAfterEachPartOfManyPages) {
  OpenFile file;
  EXPECT_EQ(file.write_pages(3 * pages_of_a_part + 1), SQLITE_OK);
  EXPECT_EQ(file.disk().writes, 3 * pages_of_a_part + 1);
  EXPECT_EQ(file.disk().syncs, 3);
}

TEST(PacedFile, LeavesFewPagesToTheSyncThatSqliteAsksFor) {
  OpenFile file;
  file.write_pages(pages_of_a_part - 1);
  EXPECT_EQ(file.disk().syncs, 0);
  EXPECT_EQ(file.sync(), SQLITE_OK);
  EXPECT_EQ(file.disk().syncs, 1);
  file.write_pages(pages_of_a_part - 1);
  EXPECT_EQ(file.disk().syncs, 1) << "a part begins anew with each sync";
}

TEST(PacedFile, ReportsAFailedSyncAtTheWriteThatFilledThePart) {
  OpenFile file;
  file.disk().sync_result = SQLITE_IOERR_FSYNC;
  EXPECT_EQ(file.write_pages(pages_of_a_part - 1), SQLITE_OK);
  EXPECT_EQ(file.write_pages(1), SQLITE_IOERR_FSYNC);
}

TEST(PacedFile, LeavesADatabaseAloneWhoseSyncFailedOnceUntilAllItsFilesAreClosed) {
  {
    OpenFile first;
    OpenFile second;
    OpenFile other("other database");
    first.disk().sync_result = SQLITE_IOERR_FSYNC;
    EXPECT_FALSE(sync_has_failed("database"));
    EXPECT_EQ(first.sync(), SQLITE_IOERR_FSYNC);
    EXPECT_TRUE(sync_has_failed("database"));

    first.disk().sync_result = SQLITE_OK;
    EXPECT_EQ(first.sync(), SQLITE_IOERR_FSYNC);
    EXPECT_EQ(second.write_pages(1), SQLITE_IOERR_WRITE);
    EXPECT_EQ(second.sync(), SQLITE_IOERR_FSYNC);
    EXPECT_EQ(second.disk().writes + second.disk().syncs, 0);
    EXPECT_EQ(other.write_pages(pages_of_a_part), SQLITE_OK);
    EXPECT_FALSE(sync_has_failed("other database"));
  }
  EXPECT_FALSE(sync_has_failed("database"));
  OpenFile again;
  EXPECT_EQ(again.write_pages(pages_of_a_part), SQLITE_OK);
}

}  // namespace
}  // namespace sojourn::store
