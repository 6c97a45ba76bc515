#include "sojourn/store/journal_key.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/base/error_of_test.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {
namespace {

namespace fs = std::filesystem;

TEST(JournalKey, IsMadeOnceAndReadByItsOwnerOnly) {
  const TemporaryFolder folder;
  EXPECT_FALSE(find_public_key(folder.path()));
  EXPECT_EQ(error_of([&] { read_journal_key(folder.path()); }).code(), ErrorCode::not_found);
  const PublicKey made = open_journal_key(folder.path()).public_key();
  struct stat found{};
  ASSERT_EQ(::stat((folder.path() / "journal-key.pem").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777u, 0600u);
  EXPECT_EQ(open_journal_key(folder.path()).public_key(), made);
  EXPECT_EQ(read_journal_key(folder.path()).public_key(), made);
  EXPECT_EQ(find_public_key(folder.path()), made);
}

TEST(JournalKey, RestoresThePublicHalf) {
  const TemporaryFolder folder;
  const PublicKey made = open_journal_key(folder.path()).public_key();
  fs::remove(folder.path() / "journal-key.pub.pem");
  open_journal_key(folder.path());
  EXPECT_EQ(find_public_key(folder.path()), made);
}

TEST(JournalKey, IsRefusedWhenOthersMayReadIt) {
  const TemporaryFolder folder;
  open_journal_key(folder.path());
  ::chmod((folder.path() / "journal-key.pem").c_str(), 0640);
  EXPECT_EQ(error_of([&] { open_journal_key(folder.path()); }).code(), ErrorCode::config_invalid);
}

TEST(JournalKey, IsNeverReplacedWhereItIsDamaged) {
  const TemporaryFolder folder;
  open_journal_key(folder.path());
  std::ofstream(folder.path() / "journal-key.pem") << "nothing";
  EXPECT_EQ(error_of([&] { open_journal_key(folder.path()); }).code(), ErrorCode::store_corrupt);
  std::string content;
  std::ifstream(folder.path() / "journal-key.pem") >> content;
  EXPECT_EQ(content, "nothing");
}

}  // namespace
}  // namespace sojourn::store
