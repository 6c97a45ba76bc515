#include "sojourn/store/journal_key.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>

#include "sojourn/base/error.hpp"
#include "sojourn/base/error_of_test.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

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

TEST(JournalKey, IsNeverReplacedWhereItIsGone) {
  for (const char* lost : {"journal-key.pem", "journal-key*"}) {
    const TemporaryFolder folder;
    const PublicKey made = open_journal_key(folder.path()).public_key();
    fs::remove(folder.path() / "journal-key.pem");
    if (lost != std::string_view("journal-key.pem")) fs::remove(folder.path() / "journal-key.pub.pem");
    const Error refused = error_of([&] { open_journal_key(folder.path()); });
    EXPECT_EQ(refused.code(), ErrorCode::config_invalid);
    EXPECT_THAT(refused.message(), HasSubstr("sojourn audit key --rotate --data"));
    EXPECT_FALSE(fs::exists(folder.path() / "journal-key.pem"));
    EXPECT_THAT(find_public_keys(folder.path()), ElementsAre(Pair(made.id(), made)));
  }
}

TEST(JournalKey, IsRotatedWhateverBecameOfItAndThePublicHalvesStay) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] { rotate_journal_key(folder.path()); }).code(), ErrorCode::not_found);
  std::vector<PublicKey> made{open_journal_key(folder.path()).public_key()};
  const fs::path secret = folder.path() / "journal-key.pem";
  const std::vector<std::function<void()>> fates{
      [] {}, [&] { fs::remove(secret); }, [&] { std::ofstream(secret) << "nothing"; },
      [&] { fs::permissions(secret, fs::perms(0644)); }, [&] { fs::remove(folder.path() / "journal-key.pub.pem"); }};
  for (const auto& fate : fates) {
    fate();
    made.push_back(rotate_journal_key(folder.path()));
    EXPECT_EQ(open_journal_key(folder.path()).public_key(), made.back());
    EXPECT_EQ(find_public_key(folder.path()), made.back());
    EXPECT_THAT(find_public_keys(folder.path()), SizeIs(made.size()));
  }
  for (const PublicKey& key : made) EXPECT_EQ(find_public_keys(folder.path()).count(key.id()), 1u);
  EXPECT_FALSE(fs::exists(folder.path() / "journal-key.next.pem"));
  const JsonObject shown = shown_keys(made.back(), find_public_keys(folder.path()));
  EXPECT_EQ(shown.at("key"), Json(made.back().id()));
  EXPECT_EQ(shown.at("retired").as_array().size(), made.size() - 1);
}

TEST(JournalKey, KeepsTheKeyThatAnotherTookThePlaceOf) {
  const TemporaryFolder folder;
  const TemporaryFolder other;
  const PublicKey before = open_journal_key(folder.path()).public_key();
  const PublicKey now = open_journal_key(other.path()).public_key();
  fs::remove_all(folder.path() / "journal-keys");  // as a server left it that knew no such folder
  fs::copy_file(other.path() / "journal-key.pem", folder.path() / "journal-key.pem",
                fs::copy_options::overwrite_existing);
  open_journal_key(folder.path());
  EXPECT_THAT(find_public_keys(folder.path()), UnorderedElementsAre(Pair(before.id(), before), Pair(now.id(), now)));
}

TEST(JournalKey, IsRefusedUnderAnothersName) {
  const TemporaryFolder folder;
  const PublicKey made = open_journal_key(folder.path()).public_key();
  fs::rename(folder.path() / "journal-keys" / (made.id() + ".pem"), folder.path() / "journal-keys" / "0123.pem");
  EXPECT_EQ(error_of([&] { find_public_keys(folder.path()); }).code(), ErrorCode::invalid_request);
}

}  // namespace
}  // namespace sojourn::store
