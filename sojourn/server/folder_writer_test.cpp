#include "sojourn/server/folder_writer.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "sojourn/base/json.hpp"
#include "sojourn/store/forwarding_store.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::server {
namespace {

const std::string id = "sess_20260115_103045_a1b2c3";

// A store that says when it is read.
class WatchedStore final : public store::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  Async<std::optional<store::Snapshot>> load(std::string session_id) override {
    ++loads;
    if (slow_by != nullptr) slow_by->advance(Seconds(1));
    return inner_.load(std::move(session_id));
  }
  int loads = 0;
  ManualClock* slow_by = nullptr;  // which a read takes a second of
};

class FolderWriterTest : public testing::Test {
 public:
  FolderWriterTest() { folders_.create(id); }

  store::Commit completed(std::uint64_t number, const std::string& name) {
    store::Commit commit = session_.next({"step"});
    commit.head.stage = "stage " + std::to_string(number);
    commit.head.step_count = number;
    commit.steps = {{.number = number,
                     .name = name,
                     .status = store::StepStatus::completed,
                     .duration = Milliseconds(number),
                     .ended_seq = commit.head.chain.seq}};
    return commit;
  }

  JsonObject written() const {
    std::ifstream in(folders_.path_of(id) / "session_metadata.json");
    return parse_json_object(std::string(std::istreambuf_iterator<char>(in), {}));
  }

  static Async<void> until(const std::function<bool()>& happened) {
    SystemClock clock;
    while (!happened()) co_await sleep_until(clock, clock.instant() + Milliseconds(1));
  }

  TemporaryFolder data_;
  store::SessionFolders folders_{data_.path()};
  store::MemoryStore memory_;
  WatchedStore store_{memory_};
  store::Writing session_ = store::write_new(memory_, id);
  ManualClock clock_;
  Log log_{LogLevel::error};
};

TEST_F(FolderWriterTest, WritesWhatTheStoreHasOnceForAllThatIsAskedMeanwhile) {
  FolderWriter writer(store::test_loop().executor(), store_, folders_, clock_, log_);
  session_.write(memory_, completed(1, "search"));
  const auto use = [](FolderWriterTest& test, FolderWriter& writer) -> Async<void> {
    for (int i = 0; i < 50; ++i) writer.renew(id);
    co_await until([&] { return std::filesystem::exists(test.folders_.path_of(id) / "session_metadata.json"); });
  };
  store::run(use(*this, writer));
  EXPECT_EQ(store_.loads, 1);
  EXPECT_EQ(written().at("steps_completed"), (JsonArray{"search"}));
  EXPECT_EQ(written().at("timing"), (JsonObject{{"search_ms", 1}}));
  EXPECT_EQ(written().at("status"), "stage 1");
  store::run(writer.close());
}

TEST_F(FolderWriterTest, PausesBeforeItWritesAgainAndNotWhenItCloses) {
  FolderWriter writer(store::test_loop().executor(), store_, folders_, clock_, log_);
  const auto use = [](FolderWriterTest& test, FolderWriter& writer) -> Async<void> {
    writer.renew(id);
    co_await until([&] { return test.store_.loads == 1; });
    writer.renew(id);
    co_await until([&] {
      test.clock_.advance(FolderWriter::least_pause);
      return test.store_.loads == 2;
    });
    writer.renew(id);
  };
  store::run(use(*this, writer));
  EXPECT_EQ(store_.loads, 2) << "its clock stands still";
  session_.write(memory_, completed(1, "last"));
  store::run(writer.close());
  EXPECT_EQ(store_.loads, 3);
  EXPECT_EQ(written().at("steps_completed"), (JsonArray{"last"}));
}

TEST_F(FolderWriterTest, LeavesWhatASlowDiskCannotTakeWhenItCloses) {
  store_.slow_by = &clock_;
  FolderWriter writer(store::test_loop().executor(), store_, folders_, clock_, log_);
  const auto use = [](FolderWriterTest& test, FolderWriter& writer) -> Async<void> {
    for (int i = 0; i < 10; ++i) {
      const std::string one = fmt::format("sess_20260115_103045_00000{}", i);
      test.folders_.create(one);
      writer.renew(one);
    }
    co_await writer.close();
  };
  store::run(use(*this, writer));
  EXPECT_EQ(Seconds(store_.loads), FolderWriter::longest_close);
}

TEST_F(FolderWriterTest, MakesNoFolderAndGoesOnAfterOneThatCannotBeWritten) {
  const std::string without = "sess_20260115_103045_000000";
  const std::string broken = "sess_20260115_103045_111111";
  store::write_new(memory_, without);
  store::write_new(memory_, broken);
  std::filesystem::create_directories(folders_.create(broken) / "session_metadata.json" / "in the way");
  FolderWriter writer(store::test_loop().executor(), store_, folders_, clock_, log_);
  const auto use = [](FolderWriter& writer, std::vector<std::string> ids) -> Async<void> {
    for (const std::string& one : ids) writer.renew(one);
    co_await writer.close();
  };
  store::run(use(writer, {without, broken, id, "no session's id"}));
  EXPECT_FALSE(std::filesystem::exists(folders_.path_of(without)));
  EXPECT_EQ(written().at("session_id"), Json(id));
}

}  // namespace
}  // namespace sojourn::server
