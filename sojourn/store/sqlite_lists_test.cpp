#include <fmt/format.h>
#include <gmock/gmock.h>

#include "sojourn/store/sqlite.hpp"
#include "sojourn/store/sqlite_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::store {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// A store of one folder, whose rows a test alters by hand.
class SqliteLists : public testing::Test {
 protected:
  ~SqliteLists() override { run(store_->close()); }

  void run_sql(const std::string& sql) {
    Connection connection(folder_.path() / "sojourn.db", OpenMode::read_write);
    connection.run(sql);
  }

  // Sessions 1 to `count`, a second apart, written with SQL since they are many.
  void fill(int count) {
    run_sql(fmt::format(
        "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {0}) "
        "INSERT INTO sessions (row, id, app, app_version, user, lifecycle, labels, created_at, owner, epoch, "
        "version, "
        "status, stage, chain_seq, chain_hash, call_count, updated_at, end_reason, error) SELECT i, 'sess_' || i, "
        "'app', '1', 'user', '', '{{}}', i * 1000000, 'server', 1, 1, i % 2, iif(i % 2, 'odd', 'even'), 1, "
        "zeroblob(32), 0, 0, '', 'null' FROM n; "
        "INSERT INTO givens (session, context, setup, metadata) SELECT row, '{{}}', 'null', '{{}}' FROM sessions; "
        "COMMIT",
        count));
  }

  TemporaryFolder folder_;
  std::unique_ptr<SqliteStore> store_ = SqliteStore::open({.folder = folder_.path()});
};

TEST_F(SqliteLists, PassOverARecordThatIsBrokenAndNameIt) {
  for (int i = 1; i <= 8; ++i) write_new(*store_, fmt::format("sess_{}", i));
  run_sql("UPDATE sessions SET labels = 'no json' WHERE id = 'sess_2'");
  run_sql("UPDATE sessions SET status = 9 WHERE id = 'sess_3'");
  run_sql("UPDATE sessions SET error = '{' WHERE id = 'sess_5'");
  run_sql("DELETE FROM givens WHERE session = (SELECT row FROM sessions WHERE id = 'sess_6')");
  run_sql("UPDATE givens SET context = '' WHERE session = (SELECT row FROM sessions WHERE id = 'sess_7')");
  const SessionPage page = run(store_->list({}, "", 2));
  ASSERT_THAT(page.sessions, SizeIs(2));
  EXPECT_EQ(page.sessions[0].id, "sess_8");
  EXPECT_EQ(page.sessions[1].id, "sess_4");
  EXPECT_THAT(page.broken, ElementsAre("sess_7", "sess_6", "sess_5"));
  const SessionPage rest = run(store_->list({}, page.next_cursor, 2));
  ASSERT_THAT(rest.sessions, SizeIs(1));
  EXPECT_EQ(rest.sessions[0].id, "sess_1");
  EXPECT_THAT(rest.broken, ElementsAre("sess_3", "sess_2"));
}

TEST_F(SqliteLists, LookAtABoundedNumberOfSessionsForAPage) {
  fill(30'000);
  // Half of them fit each filter, and none fits both.
  const SessionQuery none{.status = SessionStatus::active, .stage = "odd"};
  int pages = 0;
  std::string cursor;
  do {
    const SessionPage page = run(store_->list(none, cursor, 10));
    EXPECT_THAT(page.sessions, IsEmpty());
    cursor = page.next_cursor;
    ++pages;
  } while (!cursor.empty() && pages < 100);
  EXPECT_GT(pages, 2) << "the page went through all sessions";
  EXPECT_EQ(cursor, "");
  EXPECT_EQ(run(store_->count(none)), 0u);
}

TEST_F(SqliteLists, FindWhatFewFilterThroughBesideWhatManyDo) {
  fill(30'000);
  run_sql("UPDATE sessions SET stage = 'rare' WHERE row IN (7, 8)");
  const SessionPage page =
      run(store_->list({.status = SessionStatus::active, .stage = "rare", .app = "app"}, "", 10));
  ASSERT_THAT(page.sessions, SizeIs(1));
  EXPECT_EQ(page.sessions[0].id, "sess_8");
  EXPECT_EQ(page.next_cursor, "");
}

TEST_F(SqliteLists, SearchIdsPageByPage) {
  fill(30'000);
  std::vector<std::string> found;
  std::string cursor;
  do {
    const SessionPage page = run(store_->list({.id_text = "s_17"}, cursor, 1'000));
    for (const SessionRecord& session : page.sessions) found.push_back(session.id);
    cursor = page.next_cursor;
  } while (!cursor.empty());
  EXPECT_THAT(found, SizeIs(1 + 10 + 100 + 1'000));
  EXPECT_EQ(found.front(), "sess_17999");
  EXPECT_EQ(found.back(), "sess_17");
}

TEST_F(SqliteLists, StayInOrderWhereManyWereCreatedAtOneInstant) {
  fill(500);
  run_sql("UPDATE sessions SET created_at = 7");
  std::vector<std::string> found;
  std::string cursor;
  do {
    const SessionPage page = run(store_->list({.app = "app"}, cursor, 7));
    for (const SessionRecord& session : page.sessions) found.push_back(session.id);
    cursor = page.next_cursor;
  } while (!cursor.empty());
  ASSERT_THAT(found, SizeIs(500));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(found[static_cast<std::size_t>(i)], fmt::format("sess_{}", 500 - i));
}

}  // namespace

}  // namespace sojourn::store
