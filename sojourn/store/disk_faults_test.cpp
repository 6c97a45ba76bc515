#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "sojourn/store/fault_disk_test.hpp"
#include "sojourn/store/ledger_test.hpp"
#include "sojourn/store/sqlite_store.hpp"

// Each operation of the disk, and each allocation of SQLite's, is refused in turn. The call that meets it says why,
// nothing acknowledged is lost, also by a power cut later, and the store serves again once the fault is gone.
namespace sojourn::store {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsSubsetOf;

constexpr int sessions = 3;
// A short log is folded into the database and begun again meanwhile; a long one is not.
constexpr std::uint64_t short_log = 15;
constexpr std::uint64_t long_log = 100'000;

SqliteOptions options_in(const std::filesystem::path& root, std::uint64_t log_pages = short_log) {
  return {.folder = root / "data", .log_pages = log_pages};
}

struct Fault {
  std::string name;
  Asked kinds;
  int error_number;
  std::vector<ErrorCode> codes;
  bool lasting = false;
  std::uint64_t log_pages = short_log;
};

void PrintTo(const Fault& fault, std::ostream* out) {
  *out << fault.name;
}

class DiskFaults : public testing::TestWithParam<Fault> {
 protected:
  // Opens the store, or says that this was refused as it should be.
  std::unique_ptr<SqliteStore> open(const std::filesystem::path& root) {
    try {
      return SqliteStore::open(options_in(root, GetParam().log_pages));
    } catch (const Error& error) {
      EXPECT_THAT(GetParam().codes, Contains(error.code())) << error.message();
      EXPECT_THAT(error.message(), testing::HasSubstr(root.string())) << "names the file";
      return nullptr;
    }
  }

  // Lives through the fault at the `nth` operation; whether it was met.
  bool live(std::uint64_t nth) {
    const Fault& fault = GetParam();
    const TemporaryFolder root;
    FaultDisk disk(root.path());
    disk.fail_at(fault.kinds, nth, fault.error_number, fault.lasting);
    Ledger ledger(sessions);
    bool met = false;
    if (std::unique_ptr<SqliteStore> store = open(root.path())) {
      ledger.write(*store, 4, 2);
      met = disk.met();
      disk.mend();
      ledger.check(*store, true);
      EXPECT_TRUE(ledger.write(*store, 3)) << "does not serve again";
      ledger.check(*store, true);
      run(store->close());
    } else {
      met = disk.met();
      disk.mend();
      const auto again = SqliteStore::open(options_in(root.path()));
      EXPECT_TRUE(ledger.write(*again, 3)) << "does not open again";
      run(again->close());
    }
    EXPECT_THAT(ledger.refusals(), IsSubsetOf(fault.codes));
    const TemporaryFolder after;
    disk.restore(after.path(), Loss::all, nth);
    const auto store = SqliteStore::open(options_in(after.path()));
    ledger.check(*store, false);
    run(store->close());
    return met;
  }
};

TEST_P(DiskFaults, LoseNothingAcknowledgedAndPass) {
  std::uint64_t nth = 1;
  do {
    SCOPED_TRACE(fmt::format("at operation {}", nth));
    if (!live(nth)) break;
    ++nth;
  } while (!HasFailure());
  EXPECT_GT(nth, 3u);
}

INSTANTIATE_TEST_SUITE_P(
    EachOperation, DiskFaults,
    testing::Values(Fault{"Write", {.write = true}, EIO, {ErrorCode::io_error}},
                    Fault{"Sync", {.sync = true}, EIO, {ErrorCode::io_error}, false, long_log},
                    Fault{"SyncWhileFolding", {.sync = true}, EIO, {ErrorCode::io_error}},
                    Fault{"NoDescriptors",
                          {.open = true, .name = true},
                          EMFILE,
                          {ErrorCode::unavailable, ErrorCode::io_error},
                          true},
                    Fault{"FullOnce", {.write = true}, ENOSPC, {ErrorCode::store_full}},
                    Fault{"FullForLong", {.write = true}, ENOSPC, {ErrorCode::store_full}, true},
                    // Where SQLite cannot make a file it tries to read it, and says only that it is not there.
                    Fault{"NoNewFiles", {.name = true}, ENOSPC, {ErrorCode::store_full, ErrorCode::io_error}, true}),
    [](const auto& each) { return each.param.name; });

TEST(FullDisk, IsReadAllTheSame) {
  const TemporaryFolder root;
  FaultDisk disk(root.path());
  const auto store = SqliteStore::open(options_in(root.path()));
  Ledger ledger(sessions);
  EXPECT_TRUE(ledger.write(*store, 3));
  disk.fail_at({.write = true, .name = true}, 1, ENOSPC, true);
  EXPECT_FALSE(ledger.write(*store, 1));
  EXPECT_THAT(ledger.refusals(), ElementsAre(ErrorCode::store_full));
  ledger.check(*store, true);
  EXPECT_THAT(run(store->list({}, "", 10)).sessions, testing::SizeIs(sessions));
  disk.mend();
  EXPECT_TRUE(ledger.write(*store, 1));
  run(store->close());
}

TEST(FailedSyncOfTheDatabase, IsToldOnceAndLeavesAllToTheLogUntilTheNextOpening) {
  const TemporaryFolder root;
  FaultDisk disk(root.path());
  std::atomic<int> told = 0;
  SqliteOptions options = options_in(root.path());
  options.sync_failed = [&] { ++told; };
  auto store = SqliteStore::open(options);
  const std::string sync = "sync data/sojourn.db";
  const auto opened = static_cast<std::ptrdiff_t>(disk.asked().size());
  disk.fail_at({.sync = true, .what = sync}, 1, EIO, false);
  Ledger ledger(sessions);
  EXPECT_TRUE(ledger.write(*store, 40)) << "commits are none of its business";
  ASSERT_TRUE(disk.met());
  ledger.check(*store, true);
  run(store->close());
  EXPECT_EQ(told, 1);
  std::vector<std::string> asked = disk.asked();
  asked.erase(asked.begin(), std::find(asked.begin() + opened, asked.end(), sync) + 1);
  EXPECT_THAT(asked, testing::Not(testing::AnyOf(Contains(sync), Contains("write data/sojourn.db"))));

  store.reset();
  store = SqliteStore::open(options);
  ledger.check(*store, true);
  EXPECT_TRUE(ledger.write(*store, 40));
  run(store->close());
  EXPECT_EQ(told, 1);
  asked = disk.asked();
  asked.erase(asked.begin(), std::find(asked.begin() + opened, asked.end(), sync) + 1);
  EXPECT_THAT(asked, Contains(sync)) << "folds again";
}

// While it lives, SQLite's allocations can be made to fail.
class Allocations {
 public:
  Allocations() {
    sqlite3_shutdown();
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real());
    sqlite3_mem_methods failing = real();
    failing.xMalloc = [](int size) { return refuses() ? nullptr : real().xMalloc(size); };
    failing.xRealloc = [](void* memory, int size) { return refuses() ? nullptr : real().xRealloc(memory, size); };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
  }
  ~Allocations() {
    sqlite3_shutdown();
    sqlite3_config(SQLITE_CONFIG_MALLOC, &real());
  }
  Allocations(const Allocations&) = delete;
  Allocations& operator=(const Allocations&) = delete;

  // The `nth` from now on fails; with 0 none does.
  static void fail_at(std::int64_t nth) { left() = nth; }
  static bool met() { return left() == 0; }

 private:
  static bool refuses() { return left() > 0 && left()-- == 1; }
  static std::atomic<std::int64_t>& left() {
    static std::atomic<std::int64_t> value = 0;
    return value;
  }
  static sqlite3_mem_methods& real() {
    static sqlite3_mem_methods value{};
    return value;
  }
};

// Lives through the failure of the `nth` allocation; whether it was met.
bool live_without_memory(std::uint64_t nth) {
  const TemporaryFolder root;
  Ledger ledger(sessions);
  std::unique_ptr<SqliteStore> store;
  Allocations::fail_at(nth);
  try {
    store = SqliteStore::open(options_in(root.path()));
    ledger.write(*store, 3, 2);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unavailable) << error.message();
  }
  const bool met = Allocations::met();
  Allocations::fail_at(0);
  if (!store) store = SqliteStore::open(options_in(root.path()));
  ledger.check(*store, true);
  EXPECT_TRUE(ledger.write(*store, 2)) << "does not serve again";
  ledger.check(*store, true);
  EXPECT_THAT(ledger.refusals(), IsSubsetOf({ErrorCode::unavailable}));
  run(store->close());
  return met;
}

TEST(MemoryFaults, LoseNothingAcknowledgedAndPass) {
  const Allocations allocations;
  std::uint64_t nth = 1;
  // Every one at first, where the store is opened, then more and more widely.
  for (; live_without_memory(nth) && !HasFailure(); nth += 1 + nth / 64) {
  }
  SCOPED_TRACE(nth);
  EXPECT_GT(nth, 1'000u);
}

}  // namespace
}  // namespace sojourn::store
