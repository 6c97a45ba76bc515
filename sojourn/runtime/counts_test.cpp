#include "sojourn/runtime/counts.hpp"

#include <gmock/gmock.h>

#include "sojourn/runtime/runtime_fixture_test.hpp"

namespace sojourn::runtime {

namespace {

using namespace std::chrono_literals;

std::size_t bucket_of(Instant::duration took) {
  Durations durations;
  durations.add(took);
  const auto& counts = durations.counts();
  return static_cast<std::size_t>(std::ranges::find(counts, 1u) - counts.begin());
}

TEST(Durations, ABoundBelongsToTheBucketBelowIt) {
  EXPECT_EQ(bucket_of(0us), 0u);
  EXPECT_EQ(bucket_of(250us), 0u);
  EXPECT_EQ(bucket_of(250us + 1ns), 1u);
  EXPECT_EQ(bucket_of(300s), Durations::bounds.size() - 1);
  EXPECT_EQ(bucket_of(301s), Durations::bounds.size());
}

TEST(Counts, PastSoManyKindsOfResourcesTheRestIsOther) {
  Counts counts;
  for (std::size_t i = 0; i < Counts::most_kinds + 7; ++i) counts.resource_registered("kind" + std::to_string(i));
  counts.resource_registered("kind0");
  EXPECT_EQ(counts.resources().size(), Counts::most_kinds + 1);
  EXPECT_EQ(counts.resources().at("other"), 7u);
  EXPECT_EQ(counts.resources().at("kind0"), 2u);
}

TEST(Counts, StepsAreCountedByTheirIndexAndTheRestIsOther) {
  Counts counts;
  counts.step_finished("coins", {{"step_index", 1}, {"latency_us", 300}});
  counts.step_finished("coins", {{"step_index", 1}, {"latency_us", 700}});
  for (int index = 32; index < 40; ++index) counts.step_finished("coins", {{"step_index", index}, {"latency_us", 1}});
  const auto& steps = counts.of_app("coins").step_time;
  EXPECT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps.at("1").sum(), 1ms);
  EXPECT_EQ(steps.at("32").sum(), 1us);
  EXPECT_EQ(steps.at("other").sum(), 7us);
}

TEST(Counts, ARecordThatIsNoStepsIsNotCounted) {
  Counts counts;
  const std::vector<JsonObject> records{{},
                                        {{"step_index", 1}},
                                        {{"step_index", 0}, {"latency_us", 1}},
                                        {{"step_index", "1"}, {"latency_us", 1}},
                                        {{"step_index", 1}, {"latency_us", -1}},
                                        {{"step_index", 1}, {"latency_us", 0.5}},
                                        {{"step_index", 1}, {"latency_us", std::int64_t{1} << 62}}};
  for (const JsonObject& record : records) counts.step_finished("coins", record);
  EXPECT_TRUE(counts.of_app("coins").step_time.empty());
}

using CountsTest = RuntimeTest;

TEST_F(CountsTest, CallsAreCountedByOutcomeAndFailedOnesByCode) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string session = co_await test.new_session();
    co_await test.call(session, "fail");
    co_await test.call(session, "fail");
    const auto running = co_await test.start(session, "wait");
    const auto waiting = co_await test.start(session, "run");
    co_await test.runtime->cancel(waiting->task.id);
    const AppLoad load = test.runtime->load().at("app");
    EXPECT_EQ(load.sessions, 1u);
    EXPECT_EQ(load.waiting, 1u);
    EXPECT_EQ(load.busy, 1u);
    EXPECT_THAT(load.worker_pids, testing::ElementsAre(7));
    co_await test.pass(3s);
    test.script.release.notify_all();
    co_await LiveCall::wait_final(waiting);

    const AppCounts& counts = test.runtime->counts().apps().at("app");
    EXPECT_EQ(counts.calls_completed, 2u);
    EXPECT_EQ(counts.calls_cancelled, 1u);
    EXPECT_EQ(counts.calls_failed, (std::map<ErrorCode, std::uint64_t>{{ErrorCode::app_error, 2}}));
    EXPECT_EQ(counts.call_time.sum(), 3s);
    EXPECT_EQ(std::ranges::count(counts.call_time.counts(), 0u), counts.call_time.counts().size() - 2);
    EXPECT_EQ(counts.wait_time.counts().front(), 4u) << "the cancelled one never ran";
    EXPECT_EQ(counts.worker_starts.at("cold").counts().front(), 1u);
  });
}

TEST_F(CountsTest, SessionsAreCountedByHowTheyEnded) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    co_await test.runtime->end_session(co_await test.new_session(), "ann");
    const std::string failing = co_await test.new_session();
    co_await test.call(failing, "die");
    co_await test.settle();
    co_await test.new_session();
    co_await test.pass(61s);
    const AppCounts& counts = test.runtime->counts().apps().at("app");
    EXPECT_EQ(counts.sessions_created, 3u);
    EXPECT_EQ(counts.sessions_over,
              (std::map<store::SessionStatus, std::uint64_t>{{store::SessionStatus::ended, 1},
                                                             {store::SessionStatus::expired, 1},
                                                             {store::SessionStatus::failed, 1}}));
    EXPECT_EQ(test.runtime->counts().session_creation.counts().front(), 3u);
  });
}

TEST_F(CountsTest, ACallThatCouldNotBeMadeDurableCountsAsFailed) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string session = co_await test.new_session();
    test.guarded.refuses = [](const store::Commit&) { return true; };
    co_await test.call(session, "run");
    test.guarded.refuses = {};
    const AppCounts& counts = test.runtime->counts().apps().at("app");
    EXPECT_EQ(counts.calls_completed, 1u);
    EXPECT_EQ(counts.calls_failed, (std::map<ErrorCode, std::uint64_t>{{ErrorCode::store_full, 1}}));
  });
}

}  // namespace

}  // namespace sojourn::runtime
