#include "sojourn/session/steps.hpp"

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"

namespace sojourn::runtime {

namespace {

using Kind = session::StepChange::Kind;
using store::StepStatus;

Async<std::string> bare_session(RuntimeTest& test) {
  co_return (co_await test.runtime->create_session({})).record.id;
}

Async<store::StepRecord> say(RuntimeTest& test, std::string id, session::StepChange change) {
  co_return (co_await test.runtime->change_step(std::move(id), std::move(change))).step;
}

Async<void> report_many(RuntimeTest& test, std::string id, std::string name, int count) {
  for (int i = 0; i < count; ++i) {
    co_await say(test, id, {.kind = Kind::report, .name = name, .duration = Milliseconds(i)});
  }
}

}  // namespace

TEST_F(RuntimeTest, MeasuresAStepFromItsStartToItsEnd) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::start, .name = "search"})).attempt, 1u);
    co_await test.pass(Milliseconds(1'250));
    const store::StepRecord done = co_await say(test, id, {.kind = Kind::finish, .name = "search"});
    EXPECT_EQ(done.status, StepStatus::completed);
    EXPECT_EQ(done.duration, Milliseconds(1'250));
    const auto stored = co_await test.store.steps(id, 1, 10);
    EXPECT_EQ(stored, std::vector{done});
    EXPECT_EQ((co_await test.event_types(id)),
              (std::vector<std::string>{"session.created", "step.started", "step.completed"}));
    EXPECT_EQ(done.started_seq, 2u);
    EXPECT_EQ(done.ended_seq, 3u);
  });
}

TEST_F(RuntimeTest, CountsAttemptsAndKeepsWhatTheyFailedWith) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    co_await say(test, id, {.kind = Kind::start, .name = "effort"});
    const auto failed =
        co_await say(test, id, {.kind = Kind::fail, .name = "effort", .error = "the model did not answer"});
    EXPECT_EQ(failed.status, StepStatus::failed);
    EXPECT_EQ(failed.error, R"("the model did not answer")");
    co_await say(test, id, {.kind = Kind::report, .name = "effort", .duration = Milliseconds(7), .failed = true});
    EXPECT_EQ((co_await test.store.step_summary(id)), store::StepSummary());
    const auto third = co_await say(test, id, {.kind = Kind::report, .name = "effort", .duration = Milliseconds(9)});
    EXPECT_EQ(third.attempt, 3u);
    const store::StepSummary summary = co_await test.store.step_summary(id);
    EXPECT_EQ(summary.completed, std::vector<std::string>{"effort"});
    EXPECT_EQ(summary.timing.at("effort"), Milliseconds(9));
  });
}

TEST_F(RuntimeTest, EndsTheAttemptThatIsNamedOrElseTheNewest) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    for (int i = 0; i < 3; ++i) co_await say(test, id, {.kind = Kind::start, .name = "s"});
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::finish, .name = "s", .attempt = 1})).attempt, 1u);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::finish, .name = "s"})).attempt, 3u);
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::fail, .name = "s", .attempt = 3})),
              ErrorCode::step_not_started);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::fail, .name = "s"})).attempt, 2u);
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::finish, .name = "s"})), ErrorCode::step_not_started);
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::finish, .name = "s", .attempt = 9})),
              ErrorCode::step_not_started);
  });
}

TEST_F(RuntimeTest, KnowsTheStepsOfASessionThatComesBackFromTheStore) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    co_await say(test, id, {.kind = Kind::start, .name = "s"});
    co_await test.pass(Seconds(60));
    EXPECT_EQ(test.runtime->statistics().live_sessions, 0u);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::start, .name = "s"})).attempt, 2u);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::finish, .name = "s", .attempt = 1})).duration, Seconds(60));
  });
}

TEST_F(RuntimeTest, RefusesStepsOfTheWrongShape) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    for (const char* name : {"", ".", "..", "a/b", "a b", "\xc3\xa4"}) {
      EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::start, .name = name})), ErrorCode::invalid_request);
    }
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::start, .name = std::string(65, 'a')})),
              ErrorCode::invalid_request);
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::report, .name = "s"})), ErrorCode::invalid_request);
    EXPECT_EQ(
        co_await code_of(say(test, id, {.kind = Kind::start, .name = "s", .error = Json(std::string(70'000, 'e'))})),
        ErrorCode::too_large);
    EXPECT_EQ((co_await test.runtime->session(id)).record.version, 1u);
  });
}

TEST_F(RuntimeTest, GoesByTheStoreAgainWhenACommitOfStepsFailed) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    test.guarded.refuses = [](const store::Commit&) { return true; };
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::start, .name = "s"})), ErrorCode::store_full);
    test.guarded.refuses = nullptr;
    EXPECT_EQ(co_await code_of(say(test, id, {.kind = Kind::finish, .name = "s"})), ErrorCode::step_not_started);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::start, .name = "s"})).attempt, 1u);
    EXPECT_EQ((co_await say(test, id, {.kind = Kind::start, .name = "s"})).number, 2u);
  });
}

TEST_F(RuntimeTest, LosesNoStepOfSixtyFourWriters) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await bare_session(test);
    TaskGroup writers(test.loop.executor());
    for (int i = 0; i < 64; ++i) writers.spawn(report_many(test, id, "step_" + std::to_string(i % 8), 10));
    co_await writers.join();
    const auto steps = co_await test.store.steps(id, 1, 1'000);
    EXPECT_EQ(steps.size(), 640u);
    std::map<std::string, std::set<std::uint64_t>> attempts;
    for (const store::StepRecord& step : steps) attempts[step.name].insert(step.attempt);
    for (const auto& [name, of] : attempts) EXPECT_EQ(of.size(), 80u) << name;
    EXPECT_EQ((co_await test.runtime->session(id)).record.head.step_count, 640u);
  });
}

}  // namespace sojourn::runtime
