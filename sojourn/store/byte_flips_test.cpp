#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "sojourn/store/ledger_test.hpp"
#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/verify.hpp"

// A byte of the closed store is flipped: opening it, reading it or verifying it says so, or nothing is different.
namespace sojourn::store {
namespace {

constexpr int sessions = 3;

class ByteFlips : public testing::Test {
 protected:
  ByteFlips() {
    const auto store = SqliteStore::open({.folder = folder_.path()});
    ledger_.write(*store, 6);
    run(store->close());
    std::ifstream in(file(), std::ios::binary);
    content_.assign(std::istreambuf_iterator<char>(in), {});
  }

  std::filesystem::path file() const { return folder_.path() / "sojourn.db"; }

  // Everything that can be read of the store, or why it cannot be.
  std::string read_all() const {
    std::string text;
    const auto store = SqliteStore::open({.folder = folder_.path(), .mode = OpenMode::read_only});
    for (int i = 0; i < sessions; ++i) {
      const std::string id = fmt::format("sess_{}", i);
      const auto snapshot = run(store->load(id));
      text += snapshot ? to_hex(snapshot->record.head.chain.hash) : "none";
      if (!snapshot) continue;
      for (const auto& [key, value] : snapshot->state) text += key + "=" + value + ";";
      for (const Event& event : run(store->events(id, 1, 100))) text += event.body + to_hex(event.hash);
      for (const TaskRecord& task : run(store->tasks(id, 0, 100))) text += task.id + task.output;
    }
    return text;
  }

  // Whether the flip of the bit is told by whoever reads or verifies.
  bool is_found(std::size_t at, int bit) {
    std::string flipped = content_;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
    std::ofstream(file(), std::ios::binary) << flipped;
    try {
      const auto store = SqliteStore::open({.folder = folder_.path(), .mode = OpenMode::read_only});
      for (int i = 0; i < sessions; ++i) {
        if (!run(verify(*store, fmt::format("sess_{}", i))).ok()) return true;
      }
      return false;
    } catch (const Error& error) {
      EXPECT_THAT(error.code(),
                  testing::AnyOf(ErrorCode::store_corrupt, ErrorCode::store_newer, ErrorCode::store_read_only,
                                 ErrorCode::session_not_found, ErrorCode::io_error, ErrorCode::unavailable))
          << error.message();
      return true;
    }
  }

  TemporaryFolder folder_;
  Ledger ledger_{sessions};
  std::string content_;
};

TEST_F(ByteFlips, AreFoundInAllThatTheChainCovers) {
  // Where the bytes of these texts and hashes lie in the file, found by what they are.
  std::vector<std::pair<std::size_t, std::size_t>> covered;
  {
    Connection connection(file(), OpenMode::read_only);
    Statement rows = connection.query(
        "SELECT body FROM events UNION ALL SELECT hash FROM events UNION ALL SELECT value FROM state "
        "UNION ALL SELECT output FROM tasks UNION ALL SELECT chain_hash FROM sessions");
    while (rows.next()) {
      const std::string bytes = rows.value<std::string>();
      if (bytes.size() < 8) continue;
      const std::size_t at = content_.find(bytes);
      if (at != std::string::npos) covered.emplace_back(at, bytes.size());
    }
  }
  ASSERT_GT(covered.size(), 40u);
  std::mt19937 random(20260115);
  for (const auto& [begin, size] : covered) {
    for (int i = 0; i < 6; ++i) {
      const std::size_t at = begin + random() % size;
      const int bit = static_cast<int>(random() % 8);
      EXPECT_TRUE(is_found(at, bit)) << "byte " << at << ", bit " << bit;
    }
  }
}

TEST_F(ByteFlips, AreFoundWhereverTheyChangeWhatIsRead) {
  const std::string before = read_all();
  std::mt19937 random(20260116);
  int found = 0;
  for (std::size_t page = 0; page < content_.size(); page += 4'096) {
    // The heads of pages, where SQLite keeps what holds its trees together, and a place somewhere in each.
    for (const std::size_t at : {page + random() % 12, page + random() % 64, page + random() % 4'096}) {
      if (is_found(at, static_cast<int>(random() % 8))) {
        ++found;
        continue;
      }
      EXPECT_EQ(read_all(), before) << "byte " << at << " of the file changed what is read, and nobody noticed";
    }
  }
  EXPECT_GT(found, 20);
}

}  // namespace
}  // namespace sojourn::store
