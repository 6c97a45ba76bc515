#include "sojourn/store/sessions_owner.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sojourn/base/ed25519.hpp"
#include "sojourn/base/error_of_test.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/store/journal_key.hpp"

namespace sojourn::store {
namespace {

TEST(SessionsOwner, IsTheStoreThatCameFirstUnderAnyOfItsKeys) {
  const TemporaryFolder sessions;
  const TemporaryFolder one;
  const TemporaryFolder other;
  const auto claim = [&](const TemporaryFolder& data) {
    claim_sessions(sessions.path(), open_journal_key(data.path()).public_key().id(), find_public_keys(data.path()));
  };
  claim(one);
  const std::string owner = open_journal_key(one.path()).public_key().id();
  for (int i = 0; i < 2; ++i) {
    claim(one);
    const Error refused = error_of([&] { claim(other); });
    EXPECT_EQ(refused.code(), ErrorCode::config_invalid);
    EXPECT_THAT(refused.message(),
                testing::AllOf(testing::HasSubstr(owner), testing::HasSubstr("data_sessions_path")));
    rotate_journal_key(one.path());
  }
  std::filesystem::remove(sessions.path() / "owner");
  claim(other);
  EXPECT_EQ(error_of([&] { claim(one); }).code(), ErrorCode::config_invalid);
}

}  // namespace
}  // namespace sojourn::store
