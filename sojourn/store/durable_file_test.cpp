#include "sojourn/store/durable_file.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::store {
namespace {

namespace fs = std::filesystem;

// As a session's metadata has, which is written when its worker starts, behind its calls and with its artefacts.
TEST(ReplaceFile, TakesManyWritersOfOneFileAtOnce) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file";
  const auto replace = [&file](char letter) {
    for (int i = 0; i < 25; ++i) {
      EXPECT_NO_THROW(replace_file(file, std::string(10'000, letter)));
      const std::string found = read_small_file(file, 20'000).value_or("");
      EXPECT_EQ(found.size(), 10'000U);
      EXPECT_EQ(found.find_first_not_of(found.substr(0, 1)), std::string::npos);
    }
  };
  std::vector<std::jthread> writers;
  for (const char letter : {'a', 'b', 'c', 'd'}) writers.emplace_back(replace, letter);
  writers.clear();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace sojourn::store
