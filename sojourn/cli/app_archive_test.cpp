#include "sojourn/cli/app_archive.hpp"

#include <gtest/gtest.h>

#include "sojourn/base/error.hpp"

namespace sojourn::cli {
namespace {

JsonObject listing(std::vector<std::string> paths) {
  PackedApp packed{.name = "x", .version = "1", .files = {}};
  for (std::string& path : paths) packed.files.push_back({.path = std::move(path), .bytes = 1, .sha256 = "00"});
  return parse_json_object(to_text(packed.to_json()));
}

bool is_taken(const std::string& path) {
  try {
    PackedApp::from_json(listing({path}));
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(PackedApp, IsReadAsItWasWritten) {
  const JsonObject json = listing({"a", "a-b", "a.b/c", "b/ü"});
  EXPECT_EQ(to_text(PackedApp::from_json(json).to_json()), to_text(json));
}

TEST(PackedApp, NamesFilesBelowItsFolderOnly) {
  for (const std::string path : {"a", "a b", "a..", "a/b.c", "-", "ü", "a\\b"}) EXPECT_TRUE(is_taken(path)) << path;
  for (const std::string path : {"..", ".", "/a", "a/", "a//b", "a/./b", "a/../b", "../a", "a\n", "a\x7f"}) {
    EXPECT_FALSE(is_taken(path)) << path;
  }
  EXPECT_FALSE(is_taken(std::string("a\0b", 3)));
  EXPECT_FALSE(is_taken(std::string(256, 'x')));
  EXPECT_TRUE(is_taken(std::string(255, 'x')));
}

TEST(PackedApp, NamesOnlyWhatPackingWouldTake) {
  for (const std::string path : {"builds/a", "a/x-1.tar", "y-1.tar", "x-1.zip"}) EXPECT_TRUE(is_taken(path)) << path;
  for (const std::string path :
       {".x", "...", "a/.b/c", "build/a", "a/__pycache__/b", "sojourn-app.json", "a/sojourn-app.json", "x-1.tar"}) {
    EXPECT_FALSE(is_taken(path)) << path;
  }
}

TEST(PackedApp, HasEachFileOnceAndInItsOrder) {
  EXPECT_THROW(PackedApp::from_json(listing({"a", "a"})), Error);
  EXPECT_THROW(PackedApp::from_json(listing({"b", "a"})), Error);
  EXPECT_THROW(PackedApp::from_json(listing({"a", "a-b", "a/b"})), Error);
}

}  // namespace
}  // namespace sojourn::cli
