#include "sojourn/worker/worker_users.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/temporary_folder_test.hpp"

namespace sojourn::worker {

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Nobody else's, also where these tests run several times at once.
UserRange range_of(uid_t ids) {
  const uid_t first = 1'000'000 + static_cast<uid_t>(::getpid()) * 10;
  return {first, first + ids - 1};
}

struct stat look(const fs::path& path) {
  struct stat found{};
  EXPECT_EQ(::lstat(path.c_str(), &found), 0) << path;
  return found;
}

uid_t owner(const fs::path& path) {
  return look(path).st_uid;
}

class WorkerUsersTest : public testing::Test {
 protected:
  WorkerUsersTest() {
    fs::permissions(top, fs::perms(0711));
    data = top / "data";
    fs::create_directories(data);
  }
  ~WorkerUsersTest() override { ::umask(mask_); }

  // Whether these tests may start: else that they may not is what is found.
  bool is_root() const {
    if (::geteuid() == 0) return true;
    EXPECT_THROW(WorkerUsers(range_of(1), data), Error);
    return false;
  }

  fs::path session(const std::string& name) const {
    const fs::path folder = data / "sessions" / "2026-01-01" / name;
    fs::create_directories(folder / "inner");
    std::ofstream(folder / "inner" / "file") << "x";
    return folder;
  }

  TemporaryFolder made;
  fs::path top = made.path();
  fs::path data;

 private:
  const mode_t mask_ = ::umask(022);
};

TEST_F(WorkerUsersTest, GivesAFolderToAnIdAndTakesItBackBeforeTheIdComesAgain) {
  if (!is_root()) return;
  const fs::path folder = session("one");
  WorkerUsers users(range_of(1), data);
  auto lease = users.lease();
  const uid_t user = lease->user();
  EXPECT_EQ(user, range_of(1).first);
  lease->give(folder);
  EXPECT_EQ(owner(folder), user);
  EXPECT_EQ(look(folder).st_mode & 0777, 0700u);
  EXPECT_EQ(owner(folder / "inner" / "file"), user);
  lease.reset();
  EXPECT_EQ(users.lease()->user(), user);
  EXPECT_EQ(owner(folder), 0u);
  EXPECT_EQ(look(folder).st_mode & 0777, 0700u);
}

TEST_F(WorkerUsersTest, LeavesAFolderToTheWorkerThatHasItByNow) {
  if (!is_root()) return;
  const fs::path folder = session("one");
  WorkerUsers users(range_of(3), data);
  auto before = users.lease();
  const auto after = users.lease();
  before->give(folder);
  after->give(folder);
  before.reset();
  const auto other = users.lease();
  EXPECT_EQ(owner(folder), after->user());
}

TEST_F(WorkerUsersTest, RefusesMoreLeasesThanThereAreIds) {
  if (!is_root()) return;
  WorkerUsers users(range_of(2), data);
  const auto first = users.lease();
  auto second = users.lease();
  EXPECT_NE(first->user(), second->user());
  try {
    users.lease();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unavailable);
    EXPECT_THAT(error.message(), HasSubstr("all 2 user ids"));
  }
  second.reset();
  EXPECT_NE(users.lease(), nullptr);
}

TEST_F(WorkerUsersTest, GivesNothingThatLiesElsewhere) {
  if (!is_root()) return;
  const fs::path folder = session("one");
  std::ofstream(top / "outside") << "x";
  fs::create_symlink(top / "outside", folder / "link");
  fs::create_hard_link(top / "outside", folder / "name");
  WorkerUsers users(range_of(1), data);
  const auto lease = users.lease();
  lease->give(folder);
  EXPECT_EQ(owner(top / "outside"), 0u);
}

TEST_F(WorkerUsersTest, TakesBackWhatADeadServerLeft) {
  if (!is_root()) return;
  const fs::path folder = session("one");
  const uid_t user = range_of(1).first;
  ASSERT_EQ(::chown(folder.c_str(), user, user), 0);
  const fs::path link = data / "worker-ids" / std::to_string(user);
  fs::create_directories(link.parent_path());
  fs::create_symlink(folder, link);
  const WorkerUsers users(range_of(1), data);
  EXPECT_EQ(owner(folder), 0u);
  EXPECT_FALSE(fs::exists(fs::symlink_status(link)));
}

TEST_F(WorkerUsersTest, ClosesTheDataToOthers) {
  if (!is_root()) return;
  const fs::path folder = session("one");
  std::ofstream(data / "sojourn.db") << "x";
  fs::create_directories(data / "files");
  const WorkerUsers users(range_of(1), data);
  std::ofstream(folder / "later") << "x";
  for (const fs::path& closed : {data / "sojourn.db", data / "files", folder, folder / "later"}) {
    EXPECT_EQ(look(closed).st_mode & 077, 0u) << closed;
  }
  EXPECT_EQ(look(data).st_mode & 077, 011u);
}

TEST_F(WorkerUsersTest, NamesTheFolderThatKeepsIdsFromTheData) {
  if (!is_root()) return;
  fs::permissions(top, fs::perms(0700));
  try {
    const WorkerUsers users(range_of(1), data);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::config_invalid);
    EXPECT_THAT(error.message(), HasSubstr(top.string()));
  }
}

TEST_F(WorkerUsersTest, RefusesIdsOfKnownUsers) {
  if (!is_root()) return;
  try {
    const WorkerUsers users({1, 1}, data);  // Debian's daemon
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::config_invalid);
    EXPECT_THAT(error.message(), HasSubstr("1 is the user "));
  }
}

TEST_F(WorkerUsersTest, KillsEveryProcessOfAUser) {
  if (!is_root()) return;
  const uid_t user = range_of(1).first;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    const char became = become(user) ? '1' : '0';
    [[maybe_unused]] const ssize_t written = ::write(ends[1], &became, 1);
    for (;;) ::pause();
  }
  char became = 0;
  EXPECT_EQ(::read(ends[0], &became, 1), 1);
  EXPECT_EQ(became, '1');
  EXPECT_EQ(user_of(child), user);
  EXPECT_TRUE(kill_user(user));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(user_of(child), std::nullopt);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace

}  // namespace sojourn::worker
