#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "sojourn/store/durable_file.hpp"
#include "sojourn/store/fault_disk_test.hpp"
#include "sojourn/store/ledger_test.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/sqlite_store.hpp"

// The power goes during each operation of the disk in turn; what was acknowledged is there afterwards, and nothing is
// half there.
namespace sojourn::store {
namespace {

constexpr int sessions = 4;
constexpr int steps = 9;
constexpr std::uint64_t log_pages = 20;  // so that the log is folded into the database and begun again meanwhile

// Opens the store that is made anew below `root`, writes to it and closes it, as far as the disk lets it.
void live(const std::filesystem::path& root, bool lays_out_log, Ledger& ledger) {
  try {
    const auto store =
        SqliteStore::open({.folder = root / "data", .log_pages = log_pages, .lays_out_log = lays_out_log});
    ledger.write(*store, steps);
    run(store->close());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error) << error.message();
  }
}

// Lets the power go as `disk` says, and checks what a store that opens afterwards finds.
void expect_whole_after(const FaultDisk& disk, const Ledger& ledger, Loss loss, std::uint64_t seed) {
  const TemporaryFolder after;
  disk.restore(after.path(), loss, seed);
  const auto store = SqliteStore::open({.folder = after.path() / "data"});
  ledger.check(*store, false);
  // It goes on from there.
  Writing fresh = write_new(*store, "sess_after");
  fresh.write(*store, fresh.next_of_everything());
  run(store->close());
}

// Cuts the power at every `stride`th operation from `first` on, until the load ends before the cut.
std::uint64_t cut_everywhere(std::uint64_t first, std::uint64_t stride, bool lays_out_log) {
  std::uint64_t cuts = 0;
  for (std::uint64_t nth = first;; nth += stride) {
    const TemporaryFolder root;
    FaultDisk disk(root.path());
    disk.cut_power_at(nth);
    Ledger ledger(sessions);
    live(root.path(), lays_out_log, ledger);
    for (const Loss loss : {Loss::all, Loss::nothing, Loss::some}) {
      const std::uint64_t seed = nth * 10 + ++cuts % 10;
      SCOPED_TRACE(fmt::format("cut at operation {}, loss {}, seed {}", nth, static_cast<int>(loss), seed));
      expect_whole_after(disk, ledger, loss, seed);
      if (testing::Test::HasFailure()) return cuts;
    }
    if (!disk.met()) return cuts;
  }
}

TEST(PowerCut, LeavesEveryAcknowledgedCommitWhole) {
  EXPECT_GT(cut_everywhere(1, 1, false), 300u);
}

TEST(PowerCut, LeavesEveryAcknowledgedCommitWholeInALogThatWasLaidOut) {
  EXPECT_GT(cut_everywhere(1, 7, true), 40u);
}

const std::string session_id = "sess_20260115_103045_a1b2c3";

SessionRecord record_at(const std::string& stage) {
  SessionRecord record = new_session(session_id).record;
  record.head.stage = stage;
  return record;
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Writes the metadata twice into a data folder that is made anew; how often that was acknowledged.
int write_metadata_twice(const std::filesystem::path& data) {
  int acknowledged = 0;
  try {
    make_folders(data);
    const SessionFolders folders(data);
    for (const char* stage : {"first", "second"}) {
      folders.write_metadata(record_at(stage));
      ++acknowledged;
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error) << error.message();
  }
  return acknowledged;
}

void expect_metadata(const std::filesystem::path& data, int acknowledged) {
  const std::string found = content_of(SessionFolders(data).path_of(session_id) / "session_metadata.json");
  const std::string first = metadata_of(record_at("first")) + "\n";
  const std::string second = metadata_of(record_at("second")) + "\n";
  if (acknowledged == 0) {
    EXPECT_THAT(found, testing::AnyOf("", first));
  } else if (acknowledged == 1) {
    EXPECT_THAT(found, testing::AnyOf(first, second));
  } else {
    EXPECT_EQ(found, second);
  }
}

TEST(PowerCut, LeavesASessionsMetadataOldOrNewAndNeverTorn) {
  std::uint64_t cuts = 0;
  for (bool met = true; met;) {
    const TemporaryFolder root;
    FaultDisk disk(root.path());
    disk.cut_power_at(++cuts);
    const int acknowledged = write_metadata_twice(root.path() / "new" / "data");
    met = disk.met();
    EXPECT_EQ(acknowledged == 2, !met);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      SCOPED_TRACE(fmt::format("cut at operation {}, seed {}", cuts, seed));
      const TemporaryFolder after;
      disk.restore(after.path(), seed == 0 ? Loss::all : Loss::some, seed);
      expect_metadata(after.path() / "new" / "data", acknowledged);
    }
  }
  EXPECT_GT(cuts, 20u);
}

TEST(PowerCut, FindsMetadataThatIsWrittenIntoFoldersWhoseMakerDied) {
  const TemporaryFolder root;
  FaultDisk disk(root.path());
  // Made, and never synced.
  std::filesystem::create_directories(SessionFolders(root.path()).path_of(session_id));
  SessionFolders(root.path()).write_metadata(record_at("first"));
  const TemporaryFolder after;
  disk.restore(after.path(), Loss::all, 0);
  expect_metadata(after.path(), 1);
}

TEST(PowerCut, FindsTheMetadataOfADaysSecondSession) {
  const TemporaryFolder root;
  FaultDisk disk(root.path());
  const SessionFolders folders(root.path());
  SessionRecord earlier = record_at("first");
  earlier.id = "sess_20260115_103044_a1b2c3";
  ASSERT_EQ(day_of(earlier.id), day_of(session_id));
  folders.write_metadata(earlier);
  folders.write_metadata(record_at("first"));
  const TemporaryFolder after;
  disk.restore(after.path(), Loss::all, 0);
  expect_metadata(after.path(), 1);
}

TEST(PowerCut, IsHeldAgainstEachStepOfAReplacementInItsOrder) {
  const TemporaryFolder root;
  const FaultDisk disk(root.path());
  replace_file(root.path() / "file", "content");
  EXPECT_THAT(disk.asked(), testing::ElementsAre("make file.new", "write file.new", "sync file.new",
                                                 "rename file.new", "open .", "sync ."));
}

}  // namespace
}  // namespace sojourn::store
