#include "sojourn/server/journal_store.hpp"

#include <gtest/gtest.h>

#include "sojourn/server/journal_followers.hpp"
#include "sojourn/store/head_signature.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::server {
namespace {

TEST(JournalStore, SignsTheHeadInTheCommitThatEndsASession) {
  store::MemoryStore inner;
  const SigningKey key = SigningKey::generate();
  std::vector<std::pair<std::string, bool>> told;
  JournalStore journals(inner, key, [&](const std::string& id, bool over) { told.emplace_back(id, over); });
  store::Writing session = store::write_new(journals, "sess_1");
  session.write(journals, session.next({"log"}));
  EXPECT_EQ(store::run(inner.load("sess_1"))->record.head.signature, "");
  store::Commit last = session.next({"session.ended"});
  last.head.status = store::SessionStatus::ended;
  session.write(journals, last);
  const store::SessionHead head = store::run(inner.load("sess_1"))->record.head;
  EXPECT_TRUE(store::holds(head.signature, key.public_key(), "sess_1", last.head.chain));
  EXPECT_FALSE(store::holds(head.signature, key.public_key(), "sess_2", last.head.chain));
  EXPECT_EQ(told, (std::vector<std::pair<std::string, bool>>{{"sess_1", false}, {"sess_1", true}}));
}

TEST(JournalStore, TellsWhenTheFoldersMetadataIsOld) {
  store::MemoryStore inner;
  const SigningKey key = SigningKey::generate();
  std::vector<bool> told;
  JournalStore journals(inner, key,
                        [&](const std::string&, bool metadata_changed) { told.push_back(metadata_changed); });
  store::Writing session = store::write_new(journals, "sess_1");
  for (const char* type : {"log", "session.stage", "worker.started"}) session.write(journals, session.next({type}));
  for (const auto status : {store::StepStatus::running, store::StepStatus::failed, store::StepStatus::completed}) {
    store::Commit step = session.next({"step"});
    step.steps = {{.number = 1, .name = "search", .status = status}};
    step.head.step_count = 1;
    session.write(journals, step);
  }
  EXPECT_EQ(told, (std::vector<bool>{false, true, true, false, false, true}));
}

TEST(JournalStore, TellsNobodyOfACommitThatWasRefused) {
  store::MemoryStore inner;
  const SigningKey key = SigningKey::generate();
  JournalStore journals(inner, key, [](const std::string&, bool) { FAIL(); });
  const store::Writing session = store::write_new(journals, "sess_1");
  store::Commit stale = session.next({"log"});
  stale.version = 7;
  EXPECT_EQ(store::refusal(journals.commit(stale)), ErrorCode::conflict);
}

// What a follower does, as text.
Async<void> follow(JournalFollowers& followers, Clock& clock, std::string& found) {
  JournalFollowers::Follower follower(followers, "sess_1");
  followers.wake("sess_1");
  followers.wake("sess_2");
  found += co_await follower.wait(clock, clock.instant()) ? "woken " : "late ";
  found += co_await follower.wait(clock, clock.instant()) ? "woken " : "late ";
  followers.wake("sess_2");
  found += co_await follower.wait(clock, clock.instant()) ? "woken " : "late ";
  followers.close();
  try {
    co_await follower.wait(clock, Instant::max());
  } catch (const Error& error) {
    found += info(error.code()).wire;
  }
}

TEST(JournalFollowers, MissNothingThatCameBetweenTwoWaits) {
  JournalFollowers followers;
  SystemClock clock;
  std::string found;
  store::run(follow(followers, clock, found));
  EXPECT_EQ(found, "woken late late unavailable");
}

}  // namespace
}  // namespace sojourn::server
