#include "sojourn/server/file_store.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "sojourn/base/error.hpp"
#include "sojourn/base/error_of_test.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/server/call_files.hpp"

namespace sojourn::server {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class FileStoreTest : public testing::Test {
 protected:
  FileStoreTest() {
    store_.emplace(data_);
    store_->open();
  }

  std::string keep(std::string_view content, std::string session = "", std::string name = "a") {
    FileStore::Incoming incoming(*store_, new_file_id(random_));
    incoming.write(content);
    return incoming
        .commit({.name = std::move(name), .owner = "ann", .session = std::move(session), .created_at = now_})
        .id;
  }

  void set_age(const std::string& id, Seconds age) { store_->note_use(id, now_ - age); }

  std::size_t left() const {
    const fs::directory_iterator files(data_ / "files");
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }

  TemporaryFolder folder_;
  fs::path data_ = folder_.path();
  std::optional<FileStore> store_;
  SeededRandom random_{3};
  Time now_ = std::chrono::floor<Seconds>(SystemClock().now());
};

TEST_F(FileStoreTest, KeepsWhatWasWrittenAndWhatItIs) {
  const std::string id = keep("hello");
  const std::optional<FileInfo> found = FileStore(data_).find(id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size, 5u);
  EXPECT_EQ(found->sha256, to_hex(sha256("hello")));
  EXPECT_EQ(found->owner, "ann");
  EXPECT_EQ(found->created_at, now_);
  EXPECT_EQ(store_->content(id).read(1, 3), "ell");
}

TEST_F(FileStoreTest, WhatIsNotCommittedLeavesNothingAlsoAfterACrash) {
  {
    FileStore::Incoming incoming(*store_, new_file_id(random_));
    incoming.write("half");
    EXPECT_EQ(left(), 1u);
  }
  EXPECT_EQ(left(), 0u);
  fs::create_directory(data_ / "files" / (new_file_id(random_) + ".new"));
  store_->open();
  EXPECT_EQ(left(), 0u);
}

TEST_F(FileStoreTest, AFileIsNeverReplaced) {
  const std::string id = keep("first");
  FileStore::Incoming second(*store_, id);
  second.write("second");
  EXPECT_EQ(error_of([&] { second.commit({.name = "a"}); }).code(), ErrorCode::already_exists);
  EXPECT_EQ(store_->content(id).read(0, 100), "first");
}

TEST_F(FileStoreTest, ABrokenDescriptionIsSaid) {
  const std::string id = keep("x");
  std::ofstream(data_ / "files" / id / "about.json") << "{";
  EXPECT_EQ(error_of([&] { store_->find(id); }).code(), ErrorCode::store_corrupt);
}

TEST_F(FileStoreTest, ClearsAwayWhatNobodyNeeds) {
  const std::string unused = keep("x");
  const std::string fresh = keep("x");
  const std::string of_live = keep("x", "live");
  const std::string of_gone = keep("x", "gone");
  for (const std::string& id : {unused, of_live, of_gone}) set_age(id, 25h);
  set_age(fresh, 23h);
  store_->sweep(now_ - 24h, [](const std::string& session) { return session == "live"; });
  EXPECT_FALSE(store_->find(unused));
  EXPECT_TRUE(store_->find(fresh));
  EXPECT_TRUE(store_->find(of_live));
  EXPECT_FALSE(store_->find(of_gone));
  EXPECT_EQ(left(), 2u);
}

TEST_F(FileStoreTest, ABrokenDescriptionLeavesTheOtherFilesToTheSweep) {
  std::vector<std::string> ids;
  for (int i = 0; i < 8; ++i) ids.push_back(keep("x"));
  const fs::path broken = fs::directory_iterator(data_ / "files")->path();  // so that others come after it
  std::ofstream(broken / "about.json") << "{";
  for (const std::string& id : ids) set_age(id, 25h);
  EXPECT_EQ(error_of([&] { store_->sweep(now_ - 24h, [](const std::string&) { return false; }); }).code(),
            ErrorCode::store_corrupt);
  EXPECT_TRUE(fs::exists(broken));
  EXPECT_EQ(left(), 1u);
}

TEST_F(FileStoreTest, AFileThatIsDeletedDuringASweepLeavesTheOthersToIt) {
  std::map<std::string, std::string> of_session;
  for (int i = 0; i < 8; ++i) {
    const std::string session = std::to_string(i);
    of_session[session] = keep("x", session);
    set_age(of_session[session], 25h);
  }
  bool deleted = false;
  store_->sweep(now_ - 24h, [&](const std::string& session) {
    if (!std::exchange(deleted, true)) store_->remove(of_session.at(session));
    return false;
  });
  EXPECT_TRUE(deleted);
  EXPECT_EQ(left(), 0u);
}

TEST_F(FileStoreTest, AFileThatIsGoneIsNotFound) {
  const std::string id = keep("x");
  store_->remove(id);
  EXPECT_EQ(error_of([&] { store_->content(id); }).code(), ErrorCode::not_found);
  EXPECT_EQ(error_of([&] { store_->remove(id); }).code(), ErrorCode::not_found);
}

TEST_F(FileStoreTest, WhatARemovalThatBrokeOffLeftDoesNotHinderAnother) {
  const std::string id = keep("x");
  fs::create_directory(data_ / "files" / (id + ".gone.new"));
  store_->remove(id);
  EXPECT_FALSE(store_->find(id));
  EXPECT_EQ(left(), 0u);
}

TEST(FileIds, AreNoPaths) {
  SeededRandom random(1);
  EXPECT_TRUE(is_file_id(new_file_id(random)));
  for (const std::string_view text :
       {"", "file_", "file_0123456789abcdef0123456789abcde", "../etc", "file_0123456789ABCDEF0123456789abcdef",
        "file_0123456789abcdef0123456789abcdef0"}) {
    EXPECT_FALSE(is_file_id(text)) << text;
  }
}

TEST(FileIds, StandInAddresses) {
  const std::string id = "file_0123456789abcdef0123456789abcdef";
  for (const std::string before : {"", "/v1", "http://h", "https://h:1/v1"}) {
    EXPECT_EQ(file_id_of(before + "/files/" + id), id) << before;
  }
  for (const std::string& text :
       {id, "files/" + id, "/files/" + id + "?x", "x://h/files/" + id, std::string("http://h")}) {
    EXPECT_EQ(file_id_of(text), std::nullopt) << text;
  }
}

class CallFilesTest : public FileStoreTest {
 protected:
  CallFilesTest() { fs::create_directory(folder_); }

  Json bring(Json input) {
    Json brought;
    loop_.run(take(files_.bring(std::move(input), folder_), brought));
    return brought;
  }
  Json kept(Json output) {
    Json result;
    loop_.run(take(files_.keep(std::move(output), {.folder = folder_, .session_id = "s", .actor = "ann"}), result));
    return result;
  }
  static Async<void> take(Async<Json> action, Json& result) { result = co_await std::move(action); }

  void write(const std::string& name, std::string_view text) { std::ofstream(fs::path(folder_) / name) << text; }

  Loop loop_;
  SystemClock clock_;
  BlockingPool blocking_{1};
  std::string folder_ = (data_ / "session").string();
  CallFiles files_{*store_, clock_, random_, blocking_};
};

TEST_F(CallFilesTest, BringsEachFileOnceWhereverItStands) {
  const std::string uri = "/files/" + keep("hello");
  const Json brought =
      bring(JsonObject{{"a", JsonArray{Json(uri), Json(uri)}}, {"b", {{"uri", uri}, {"mine", 1}}}, {"c", "plain"}});
  const Json& file = brought.at("a").at(0);
  EXPECT_EQ(file.at("uri"), Json(uri));
  EXPECT_EQ(file, brought.at("a").at(1));
  EXPECT_EQ(brought.at("b").at("path"), file.at("path"));
  EXPECT_EQ(brought.at("b").at("mine"), 1);
  EXPECT_EQ(brought.at("c"), "plain");
  std::ifstream copy(std::string(file.at("path").as_string()));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(copy), {}), "hello");
}

TEST_F(CallFilesTest, BringingPutsOffTheRemovalOfAnUpload) {
  const std::string id = keep("x");
  set_age(id, 25h);
  bring(Json("/files/" + id));
  store_->sweep(now_ - 24h, [](const std::string&) { return false; });
  EXPECT_TRUE(store_->find(id));
}

TEST_F(CallFilesTest, AFileWithinTheDescriptionOfAFileIsPartOfIt) {
  write("out", "made");
  const Json output =
      kept(parse_json(R"({"file":{"path":"out","file":{"path":"missing"}},"other":[{"file":{"path":"out"}}]})"));
  EXPECT_EQ(output.at("file").at("filename"), "out");
  EXPECT_EQ(output.at("other").at(0).at("file").at("size"), 4);
  EXPECT_FALSE(output.at("file").as_object().contains("file"));
}

TEST_F(CallFilesTest, WhatHasNoPathAsTextIsNoFile) {
  const Json output = parse_json(R"({"file":{"path":7},"x":{"file":"path"},"y":{"file":{"name":"out"}}})");
  EXPECT_EQ(kept(output), output);
}

TEST_F(CallFilesTest, ANameOrTypeThatCouldBreakAHeaderIsRefused) {
  write("out", "made");
  for (const char* more : {R"("filename":"a/b")", R"("filename":"a\nb")", R"("content_type":"a\r\nX: y")"}) {
    const Json output = parse_json(std::string(R"({"file":{"path":"out",)") + more + "}}");
    EXPECT_EQ(error_of([&] { kept(output); }).code(), ErrorCode::invalid_request) << more;
  }
  EXPECT_EQ(left(), 0u);
}

}  // namespace

}  // namespace sojourn::server
