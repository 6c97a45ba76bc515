#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/cli/command_line.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::cli {
namespace {

TEST(Purge, CountsNoneThatStillOwesAWebhook) {
  const TemporaryFolder folder;
  auto store = store::SqliteStore::open({.folder = folder.path()});
  for (const std::string id : {"sess_1", "sess_2"}) {
    store::NewSession session = store::new_session(id);
    session.record.head.status = store::SessionStatus::ended;
    session.record.head.ended_at = store::start_time;
    if (id == "sess_1") {
      session.tasks = {store::new_task("task_1", id, 1, "")};
      session.tasks[0].webhook = store::Webhook{.url = "http://127.0.0.1/", .status = store::Webhook::Status::owed};
    }
    store::run(store->create(session));
  }
  store::run(store->close());
  store.reset();

  std::istringstream in;
  std::ostringstream out, err;
  Console console{.in = in, .out = out, .err = err};
  EXPECT_EQ(run_command_line({"purge", "--older-than", "1d", "--dry-run", "--data", folder.path().string()},
                             {.folder = "/nowhere"}, console),
            0);
  EXPECT_EQ(out.str(), "1 sessions with 1 events would be removed\n");
}

TEST(Purge, DrawsOneBarAndSaysOnceWhatIsGone) {
  const TemporaryFolder folder;
  auto store = store::SqliteStore::open({.folder = folder.path()});
  for (const std::string id : {"sess_1", "sess_2", "sess_3"}) {
    store::NewSession session = store::new_session(id);
    session.record.head.status = store::SessionStatus::ended;
    session.record.head.ended_at = store::start_time;
    store::run(store->create(session));
  }
  store::run(store->close());
  store.reset();

  std::istringstream in;
  std::ostringstream out, err;
  Console console{.in = in, .out = out, .err = err, .colour = true};
  EXPECT_EQ(run_command_line({"purge", "--older-than", "1d", "--data", folder.path().string()},
                             {.folder = "/nowhere"}, console),
            0);
  EXPECT_EQ(out.str(), "3 sessions removed\n");
  EXPECT_THAT(err.str(), testing::StartsWith("\r[..............................] 0 of 3 sessions\r"));
  EXPECT_THAT(err.str(), testing::EndsWith("\r[##############################] 3 of 3 sessions\n"));
  EXPECT_EQ(std::ranges::count(err.str(), '\n'), 1);
}

}  // namespace
}  // namespace sojourn::cli
