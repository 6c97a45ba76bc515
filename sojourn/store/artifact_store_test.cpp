#include "sojourn/store/artifact_store.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/error_of_test.hpp"
#include "sojourn/store/artifact_folder.hpp"
#include "sojourn/store/artifact_path.hpp"
#include "sojourn/store/manifest.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/session_folder.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {
namespace {

namespace fs = std::filesystem;

const std::string id = "sess_20260115_103045_a1b2c3";

TEST(ArtifactPath, IsOneOfPlainNames) {
  EXPECT_EQ(split_artifact_path("a"), (std::vector<std::string>{"a"}));
  EXPECT_EQ(split_artifact_path("step1_input/r\xC3\xA4t.json"),
            (std::vector<std::string>{"step1_input", "r\xC3\xA4t.json"}));
  EXPECT_EQ(split_artifact_path(std::string(255, 'n')).size(), 1u);
}

TEST(ArtifactPath, LeadsNowhereElse) {
  std::string deep = "a";
  for (int i = 0; i < 16; ++i) deep += "/a";
  for (const std::string& path : {std::string(),
                                  std::string("/etc/passwd"),
                                  std::string(".."),
                                  std::string("../a"),
                                  std::string("a/../b"),
                                  std::string("./a"),
                                  std::string("a//b"),
                                  std::string("a/"),
                                  std::string(300, 'n'),
                                  "a/" + std::string(300, 'n'),
                                  std::string("a\\b"),
                                  std::string("a\nb"),
                                  std::string("a\0b", 3),
                                  std::string("a\xFF"),
                                  std::string(".hidden"),
                                  std::string("a.new"),
                                  std::string("session_metadata.json"),
                                  std::string("Session_Metadata.JSON"),
                                  deep,
                                  std::string(1'025, 'a')}) {
    EXPECT_EQ(error_of([&] { split_artifact_path(path); }).code(), ErrorCode::invalid_request) << path;
  }
}

class ArtifactStoreTest : public testing::Test {
 protected:
  ArtifactStoreTest() : contents_(data_.path()), folders_(data_.path()) { contents_.open(); }

  std::string keep(const std::string& content) {
    ArtifactStore::Incoming incoming(contents_, id);
    incoming.write(content);
    return incoming.commit();
  }

  std::string read(const std::string& hash) {
    std::string content;
    contents_.read(id, hash, [&](std::string_view piece) { content += piece; });
    return content;
  }

  static std::string text_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::size_t files() {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(data_.path())) count += entry.is_regular_file() ? 1 : 0;
    return count;
  }

  const TemporaryFolder data_;
  const ArtifactStore contents_;
  const SessionFolders folders_;
};

TEST_F(ArtifactStoreTest, KeepsEachContentOnceUnderItsHash) {
  const std::string hash = keep("content");
  EXPECT_EQ(hash, to_hex(sha256("content")));
  EXPECT_EQ(keep("content"), hash);
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(read(hash), "content");
  EXPECT_EQ(contents_.hash(id, hash), hash);
  EXPECT_EQ(contents_.hash(id, std::string(64, '0')), std::nullopt);
  EXPECT_EQ(contents_.bytes(), 7u);
  EXPECT_EQ(error_of([&] { contents_.content(id, "../../../etc/passwd"); }).code(), ErrorCode::not_found);
}

TEST_F(ArtifactStoreTest, LeavesNothingOfWhatBrokeOff) {
  {
    ArtifactStore::Incoming(contents_, id).write("half");
  }
  EXPECT_EQ(files(), 0u);
  std::ofstream(data_.path() / "artifacts" / "incoming" / "7.0") << "of a server that was killed";
  contents_.open();
  EXPECT_EQ(files(), 0u);
}

TEST_F(ArtifactStoreTest, MendsAContentThatWasDamaged) {
  const std::string hash = keep("content");
  std::ofstream(contents_.path_of(id, hash)) << "CONTENT";
  EXPECT_NE(contents_.hash(id, hash), hash);
  keep("content");
  EXPECT_EQ(contents_.hash(id, hash), hash);
}

TEST_F(ArtifactStoreTest, RemovesASessionsContents) {
  keep("a");
  keep("b");
  contents_.remove(id);
  EXPECT_EQ(files(), 0u);
  contents_.remove(id);
}

TEST_F(ArtifactStoreTest, PutsTheFileWholeInItsPlace) {
  const fs::path folder = folders_.create(id);
  const std::vector<std::string> names{"step1", "deep", "a.txt"};
  place(contents_, id, keep("one"), folder, names);
  EXPECT_EQ(text_of(folder / "step1/deep/a.txt"), "one");
  place(contents_, id, keep("two"), folder, names);
  EXPECT_EQ(text_of(folder / "step1/deep/a.txt"), "two");
  EXPECT_EQ(hash_of_placed(folder, names), to_hex(sha256("two")));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "step1/deep"), {}), 1);
  EXPECT_EQ(hash_of_placed(folder, {"step1", "b"}), std::nullopt);
}

TEST_F(ArtifactStoreTest, FollowsNoLinkOfAWorker) {
  const fs::path folder = folders_.create(id);
  const TemporaryFolder elsewhere;
  fs::create_directory_symlink(elsewhere.path(), folder / "out");
  fs::create_symlink(elsewhere.path() / "file", folder / "link");
  fs::create_directories(folder / "is" / "folder");
  std::ofstream(folder / "plain") << "x";
  const std::string hash = keep("one");
  for (const std::vector<std::string>& names :
       std::vector<std::vector<std::string>>{{"out", "a"}, {"link"}, {"is", "folder"}, {"plain", "a"}}) {
    EXPECT_EQ(error_of([&] { check_place(folder, names); }).code(), ErrorCode::invalid_request) << names[0];
    EXPECT_EQ(error_of([&] { place(contents_, id, hash, folder, names); }).code(), ErrorCode::invalid_request)
        << names[0];
    EXPECT_EQ(hash_of_placed(folder, names), std::nullopt);
  }
  EXPECT_TRUE(fs::is_empty(elsewhere.path()));
  check_place(folder, {"new", "a"});
  check_place(folders_.path_of("sess_20260115_103045_ffffff"), {"a"});  // made when it is needed
}

Artifact artifact(const std::string& path, std::uint64_t attempt = 1) {
  return {.path = path, .attempt = attempt, .size = 1, .sha256 = to_hex(sha256(path)), .content_type = "text/plain"};
}

TEST(Manifest, KeepsEachAttempt) {
  Manifest manifest;
  manifest.add(artifact("a/b"));
  manifest.add(artifact("a/b", 2));
  manifest.add(artifact("c"));
  EXPECT_EQ(manifest.size(), 3u);
  EXPECT_EQ(manifest.find("a/b")->attempt, 2u);
  EXPECT_EQ(manifest.find("a/b", 1)->attempt, 1u);
  EXPECT_EQ(manifest.find("a/b", 3), nullptr);
  EXPECT_EQ(manifest.find("a"), nullptr);
}

TEST(Manifest, RefusesWhatCollides) {
  Manifest manifest;
  manifest.add(artifact("Step/Report.json"));
  for (const char* path : {"step/report.json", "Step/report.JSON", "step/other", "Step", "STEP", "Step/Report.json/x",
                           "step/report.json/x"}) {
    EXPECT_EQ(error_of([&] { manifest.check_new(path); }).code(), ErrorCode::already_exists) << path;
  }
  for (const char* path : {"Step/Report.json", "Step/Other.json", "Steps", "other"}) manifest.check_new(path);
}

TEST(Manifest, IsReadFromTheJournal) {
  MemoryStore store;
  Writing session = write_new(store, "sess_1");
  Commit commit = session.next({});
  commit.events = {link(commit.head.chain, "artifact.stored", to_text(artifact("a").event_data())),
                   link(commit.head.chain, "custom", R"({"said":"\"type\":\"artifact.stored\""})")};
  session.write(store, commit);
  session.write(store, session.next(std::vector<std::string>(600, "log")));
  Manifest manifest;
  EXPECT_EQ(run(read_manifest(store, "sess_1", 1, manifest)), 604u);
  ASSERT_EQ(manifest.size(), 1u);
  EXPECT_EQ(manifest.find("a")->seq, 2u);
  EXPECT_EQ(manifest.find("a")->sha256, to_hex(sha256("a")));
  EXPECT_EQ(run(read_manifest(store, "sess_1", 604, manifest)), 604u);
}

}  // namespace
}  // namespace sojourn::store
