#include "sojourn/worker/folder_walk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::worker {

namespace {

namespace fs = std::filesystem;

class FolderWalk : public testing::Test {
 protected:
  void write(const fs::path& file, std::size_t bytes) const {
    fs::create_directories((folder / file).parent_path());
    std::ofstream(folder / file) << std::string(bytes, 'x');
  }

  TemporaryFolder made;
  fs::path folder = made.path();
};

TEST_F(FolderWalk, AddsUpWhatFilesTakeHoweverDeep) {
  EXPECT_EQ(size_of_folder(folder, 1 << 30), 0u);
  write("a", 100'000);
  write("b/c/d", 200'000);
  const std::uint64_t size = size_of_folder(folder, 1 << 30);
  EXPECT_GE(size, 300'000u);
  EXPECT_LT(size, 400'000u);
}

TEST_F(FolderWalk, SaysMoreThanTheLimitPastIt) {
  write("a", 100'000);
  EXPECT_EQ(size_of_folder(folder, 50'000), 50'001u);
}

TEST_F(FolderWalk, CountsNoHoles) {
  write("a", 1);
  fs::resize_file(folder / "a", std::uint64_t{1} << 40);
  EXPECT_LT(size_of_folder(folder, 1 << 30), 100'000u);
}

TEST_F(FolderWalk, FollowsNoLink) {
  fs::create_directory_symlink("/usr", folder / "link");
  std::set<std::string> seen;
  EXPECT_TRUE(walk_folder(folder, {}, [&](int, const char* name, const struct stat& found) {
    EXPECT_TRUE(S_ISLNK(found.st_mode));
    seen.insert(name);
    return true;
  }));
  EXPECT_THAT(seen, testing::ElementsAre("link"));
}

TEST_F(FolderWalk, StopsAtItsBounds) {
  const auto everything = [](int, const char*, const struct stat&) { return true; };
  for (const char* file : {"a", "b", "c"}) write(file, 1);
  EXPECT_TRUE(walk_folder(folder, {.entries = 3}, everything));
  EXPECT_FALSE(walk_folder(folder, {.entries = 2}, everything));
  write("d/e/f", 1);
  EXPECT_TRUE(walk_folder(folder, {.depth = 3}, everything));
  EXPECT_FALSE(walk_folder(folder, {.depth = 2}, everything));
}

TEST_F(FolderWalk, NeedsAFolderThatIsThere) {
  EXPECT_THROW(size_of_folder(folder / "not", 1), Error);
}

}  // namespace

}  // namespace sojourn::worker
