#include "sojourn/server/retention.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "sojourn/base/error.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/store_fixture_test.hpp"

namespace sojourn::server {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

TEST(RetentionRules, ReadAgesAndSizes) {
  EXPECT_EQ(parse_age("90s"), Seconds(90));
  EXPECT_EQ(parse_age("45m"), Seconds(2'700));
  EXPECT_EQ(parse_age("12h"), Seconds(43'200));
  EXPECT_EQ(parse_age("30d"), Seconds(2'592'000));
  EXPECT_EQ(parse_age("8w"), Seconds(4'838'400));
  EXPECT_EQ(parse_size("7"), 7u);
  EXPECT_EQ(parse_size("20GB"), 20'000'000'000u);
  for (const char* text : {"", "d", "0d", "-1d", "1.5d", "30", "30 d", "30D", "99999999999999999999d", "1y"}) {
    EXPECT_THROW(parse_age(text), Error) << text;
  }
  for (const char* text : {"", "GB", "0", "1gb", "1PB", "99999999999TB"})
    EXPECT_THROW(parse_size(text), Error) << text;
}

TEST(RetentionRules, ReadAnAgeForAllAndForOneApp) {
  EXPECT_TRUE(parse_retention("").keeps_all());
  EXPECT_TRUE(parse_retention("chat=never").keeps_all());
  const RetentionRules rules = parse_retention("30d, browser=12h,chat = never");
  EXPECT_EQ(rules.age, Seconds(2'592'000));
  EXPECT_EQ(rules.apps.at("browser"), Seconds(43'200));
  EXPECT_EQ(rules.apps.at("chat"), std::nullopt);
  EXPECT_FALSE(rules.keeps_all());
  for (const char* text : {"30", "1d,2d", "a=1d,a=2d", "=1d", "a=", "a=b", ","}) {
    EXPECT_THROW(parse_retention(text), Error) << text;
  }
}

class RetentionTest : public testing::Test {
 protected:
  RetentionTest() : folders_(folder_.path()) {
    int minute = 10;
    for (const std::string app : {"browser", "chat", ""}) {
      for (const int days : {0, 2, 40}) {
        const std::string id = "sess_20260115_1030" + std::to_string(minute++) + "_a1b2c3";
        store::NewSession session = store::new_session(id);
        session.record.app = app;
        if (days > 0) {
          session.record.head.status = store::SessionStatus::ended;
          session.record.head.ended_at = clock_.now() - Seconds(days * 86'400);
        }
        store::run(store_.create(session));
        std::ofstream(folders_.create(id) / "file") << std::string(1'000, 'x');
        ids_[app + " " + std::to_string(days)] = id;
      }
    }
  }

  std::uint64_t apply(const std::string& rules, std::uint64_t most_bytes = 0) {
    RetentionRules parsed = parse_retention(rules);
    parsed.bytes = most_bytes;
    Retention retention(store::test_loop().executor(), store_, folder_.path(), folders_, clock_, log_, parsed,
                        []() -> Async<std::uint64_t> { co_return 0; });
    return store::run(retention.apply());
  }

  std::vector<std::string> left() {
    std::vector<std::string> left;
    for (const auto& [name, id] : ids_) {
      const bool stored = store::run(store_.load(id)).has_value();
      EXPECT_EQ(stored, std::filesystem::exists(folders_.path_of(id))) << name;
      if (stored) left.push_back(name);
    }
    return left;
  }

  const TemporaryFolder folder_;
  const store::SessionFolders folders_;
  store::MemoryStore store_;
  ManualClock clock_;
  const Log log_{LogLevel::error, LogFormat::text};
  std::map<std::string, std::string> ids_;  // of each "APP DAYS", 0 for one that is active
};

TEST_F(RetentionTest, RemovesWhatIsOverForLongWithItsFolder) {
  EXPECT_EQ(apply("30d"), 3u);
  EXPECT_THAT(left(), UnorderedElementsAre("browser 0", "browser 2", "chat 0", "chat 2", " 0", " 2"));
  EXPECT_EQ(apply("30d"), 0u);
  EXPECT_EQ(store::run(store_.tombstone(ids_["chat 40"]))->chain.seq, 1u);
}

TEST_F(RetentionTest, HasRulesOfItsOwnForAnApp) {
  EXPECT_EQ(apply("30d,browser=1d,chat=never"), 3u);
  EXPECT_THAT(left(), UnorderedElementsAre("browser 0", "chat 0", "chat 2", "chat 40", " 0", " 2"));
}

TEST_F(RetentionTest, RemovesTheOldestFirstUntilTheRestFits) {
  EXPECT_EQ(apply("", 100'000), 0u);
  EXPECT_EQ(apply("", 1), 6u);
  EXPECT_THAT(left(), UnorderedElementsAre("browser 0", "chat 0", " 0"));
}

TEST_F(RetentionTest, KeepsWhatIsKeptForEverAlsoPastTheSize) {
  EXPECT_EQ(apply("chat=never", 1), 4u);
  EXPECT_THAT(left(), UnorderedElementsAre("browser 0", "chat 0", "chat 2", "chat 40", " 0"));
}

TEST_F(RetentionTest, EndsWhatAnEarlierPurgeLeftHalfDone) {
  store::run(store_.purge({ids_["chat 2"]}));  // and then the server died
  EXPECT_TRUE(std::filesystem::exists(folders_.path_of(ids_["chat 2"])));
  EXPECT_EQ(apply("chat=30d"), 1u);
  EXPECT_THAT(left(), UnorderedElementsAre("browser 0", "browser 2", "browser 40", "chat 0", " 0", " 2", " 40"));
}

TEST_F(RetentionTest, KeepsASessionThatStillOwesAWebhook) {
  const std::string id = "sess_20260115_110000_a1b2c3";
  store::NewSession session = store::new_session(id);
  session.record.head.status = store::SessionStatus::ended;
  session.record.head.ended_at = Time();
  session.tasks = {store::new_task("task_1", id, 1, "")};
  session.tasks[0].status = store::TaskStatus::completed;
  session.tasks[0].webhook = store::Webhook{.url = "http://127.0.0.1/", .status = store::Webhook::Status::owed};
  store::run(store_.create(session));
  apply("1d");
  EXPECT_TRUE(store::run(store_.load(id)));
  store::Webhook told = *session.tasks[0].webhook;
  told.status = store::Webhook::Status::delivered;
  store::run(store_.webhook_tried("task_1", told));
  apply("1d");
  EXPECT_FALSE(store::run(store_.load(id)));
}

}  // namespace
}  // namespace sojourn::server
