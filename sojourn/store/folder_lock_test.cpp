#include "sojourn/store/folder_lock.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::store {

namespace {

namespace fs = std::filesystem;

class FolderLockTest : public testing::Test {
 protected:
  TemporaryFolder made;
  fs::path folder = made.path();
};

TEST_F(FolderLockTest, IsHeldByOneAtATime) {
  std::optional<FolderLock> lock(folder);
  try {
    const FolderLock second(folder);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::store_locked);
    EXPECT_NE(error.message().find(folder.string()), std::string::npos);
  }
  lock.reset();
  EXPECT_NO_THROW(FolderLock again(folder));
}

TEST_F(FolderLockTest, WaitsForWhatAKilledServerWasJustStarting) {
  std::optional<FolderLock> lock(folder);
  const pid_t child = ::fork();  // holds what its parent holds
  if (child == 0) {
    ::poll(nullptr, 0, 100);
    ::_exit(0);
  }
  lock.reset();
  EXPECT_NO_THROW(FolderLock next(folder));
  ::waitpid(child, nullptr, 0);
}

}  // namespace

}  // namespace sojourn::store
