#include "sojourn/store/session_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "sojourn/base/json.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {
namespace {

namespace fs = std::filesystem;

class SessionFoldersTest : public testing::Test {
 protected:
  SessionFoldersTest() {
    record_ = new_session(id_).record;
    record_.user = "developer@example.com";
  }

  JsonObject written() const {
    std::ifstream in(folder_ / "session_metadata.json");
    return parse_json_object(std::string(std::istreambuf_iterator<char>(in), {}));
  }

  const std::string id_ = "sess_20260115_103045_a1b2c3";
  TemporaryFolder data_;
  SessionFolders folders_{data_.path()};
  fs::path folder_ = data_.path() / "sessions" / "2026-01-15" / id_;
  SessionRecord record_;
};

TEST_F(SessionFoldersTest, PutsASessionUnderItsDay) {
  EXPECT_EQ(folders_.path_of(id_), folder_);
  EXPECT_FALSE(fs::exists(folder_)) << "asking for the path makes nothing";
  EXPECT_EQ(folders_.create(id_), folder_);
  EXPECT_TRUE(fs::is_directory(folder_));
  EXPECT_EQ(folders_.create(id_), folder_) << "again does no harm";
}

TEST_F(SessionFoldersTest, IsMadeWithItsMetadataAndBroughtToTheDiskLater) {
  EXPECT_EQ(folders_.make(record_), folder_);
  EXPECT_TRUE(fs::is_regular_file(folder_ / "session_metadata.json"));
  folders_.sync(id_);
  EXPECT_EQ(folders_.make(record_), folder_) << "again does no harm";
  fs::remove(folder_ / "session_metadata.json");
  EXPECT_NO_THROW(folders_.sync(id_)) << "a worker may have emptied it";
}

TEST_F(SessionFoldersTest, KeepsTheMetadataThatIsThere) {
  folders_.write_metadata(record_);
  record_.app = "another";
  folders_.make(record_);
  std::ifstream in(folder_ / "session_metadata.json");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}).find("another"), std::string::npos);
}

TEST_F(SessionFoldersTest, RefusesWhatIsNoSessionId) {
  using std::string_literals::operator""s;
  for (const std::string& id : {""s, "sess_1"s, "../../etc/passwd"s, "sess_20260115_103045_../../"s,
                                "sess_20260115_103045_a1b2c3/.."s, "sess_20260115_103045_a1b2c\0"s}) {
    try {
      folders_.create(id);
      ADD_FAILURE() << "made a folder for " << id;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    }
  }
  EXPECT_TRUE(fs::is_empty(data_.path()));
}

TEST_F(SessionFoldersTest, WritesTheFieldsThatSeed001Reads) {
  record_.head.stage = "running";
  folders_.write_metadata(record_);
  const JsonObject metadata = written();
  EXPECT_EQ(metadata.at("session_id"), Json(id_));
  EXPECT_EQ(metadata.at("created_at"), "2026-01-15T10:30:45.000000Z");
  EXPECT_EQ(metadata.at("status"), "running");
  EXPECT_EQ(metadata.at("user_id"), "developer@example.com");
  EXPECT_EQ(metadata.at("steps_completed"), JsonArray());
  EXPECT_EQ(metadata.at("timing"), JsonObject());
  const JsonObject& ours = metadata.at("sojourn").as_object();
  EXPECT_EQ(ours.at("app"), "counter");
  EXPECT_EQ(ours.at("status"), "active");
  EXPECT_EQ(ours.at("last_hash"), Json(to_hex(record_.head.chain.hash)));
}

TEST_F(SessionFoldersTest, WritesNullForASessionWithoutUser) {
  record_.user = "";
  folders_.write_metadata(record_);
  EXPECT_EQ(written().at("user_id"), nullptr);
}

TEST_F(SessionFoldersTest, ReplacesTheMetadataAndLeavesNothingElse) {
  folders_.write_metadata(record_);
  record_.head.stage = "completed";
  folders_.write_metadata(record_);
  EXPECT_EQ(written().at("status"), "completed");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(SessionFoldersTest, KeepsTheOldMetadataWhenTheNewCannotBeWritten) {
  folders_.write_metadata(record_);
  record_.head.stage = "completed";
  fs::create_directory(folder_ / "session_metadata.json.new");
  try {
    folders_.write_metadata(record_);
    ADD_FAILURE() << "the metadata was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    EXPECT_THAT(error.message(), testing::HasSubstr("session_metadata.json"));
  }
  EXPECT_EQ(written().at("status"), "created");
}

TEST_F(SessionFoldersTest, SaysWhyAFolderCannotBeMade) {
  std::ofstream(data_.path() / "sessions") << "a file";
  try {
    folders_.create(id_);
    ADD_FAILURE() << "the folder was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::store_read_only);
    EXPECT_THAT(error.message(), testing::HasSubstr((data_.path() / "sessions").string()));
  }
}

TEST_F(SessionFoldersTest, CountsTheBytesOfTheRestWhileFoldersComeAndGo) {
  constexpr int sessions = 8;
  std::vector<fs::path> folders;
  for (int i = 0; i < sessions; ++i) {
    folders.push_back(folders_.create("sess_2026011" + std::to_string(i) + "_103045_a1b2c3"));
    std::ofstream(folders.back() / "file") << std::string(1'000, 'x');
  }
  std::jthread worker([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (const fs::path& folder : folders) fs::create_directory(folder / "working");
      for (const fs::path& folder : folders) fs::remove(folder / "working");
    }
  });
  for (int i = 0; i < 2'000; ++i) ASSERT_EQ(folders_.bytes(), sessions * 1'000u) << "round " << i;
}

TEST_F(SessionFoldersTest, KeepsThemElsewhereWhereThatIsAskedFor) {
  EXPECT_EQ(SessionFolders("data").path_of(id_), "data/sessions/2026-01-15/" + id_);
  EXPECT_EQ(SessionFolders("data", "/srv/audit").path_of(id_), "/srv/audit/2026-01-15/" + id_);
  const SessionFolders elsewhere(data_.path(), data_.path() / "audit" / "folders");
  elsewhere.write_metadata(record_);
  EXPECT_TRUE(fs::exists(data_.path() / "audit" / "folders" / "2026-01-15" / id_ / "session_metadata.json"));
}

TEST_F(SessionFoldersTest, TellsTheStepsThatAreDoneInTheirOrder) {
  StepSummary steps;
  steps.add("search", Microseconds(1'249'600));
  steps.add("modules", Seconds(3));
  steps.add("search", Microseconds(900'400));
  folders_.write_metadata(record_, steps);
  EXPECT_EQ(written().at("steps_completed"), (JsonArray{"search", "modules"}));
  EXPECT_EQ(written().at("timing"), (JsonObject{{"search_ms", 900}, {"modules_ms", 3'000}}));
}

TEST_F(SessionFoldersTest, RenewsMetadataOnlyWhereTheFolderIs) {
  folders_.renew_metadata(record_, {});
  EXPECT_FALSE(fs::exists(folders_.path_of(id_)));
  folders_.create(id_);
  folders_.renew_metadata(record_, {});
  EXPECT_EQ(written().at("session_id"), Json(id_));
}

}  // namespace
}  // namespace sojourn::store
