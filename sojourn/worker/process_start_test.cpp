#include "sojourn/worker/process_app.hpp"

#include <gmock/gmock.h>

#include <string>

#include "sojourn/worker/process_test_bench.hpp"

namespace sojourn::worker {

namespace {

using Bench = ProcessTestBench;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ProcessStartTest : public Bench {};

std::string said_on_stderr(const Error& error) {
  const Json* said = error.details().if_contains("stderr");
  return said == nullptr ? "" : std::string(said->as_string());
}

TEST_F(ProcessStartTest, SaysWhyAProgramDidNotStart) {
  run([](Bench& bench) -> Async<void> {
    const Error exits = co_await error_of(bench.open("exit"));
    EXPECT_EQ(exits.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(exits.message(), HasSubstr("tests/app"));
    EXPECT_EQ(exits.details().at("exit_status"), Json(3));
    EXPECT_EQ(said_on_stderr(exits), "cannot find my teeth");

    const Error missing =
        co_await error_of(bench.program({"/no/such/program"}).open(bench.opening(), bench.in(Seconds(20))));
    EXPECT_EQ(missing.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(missing.message(), HasSubstr("tests/app: /no/such/program"));
    EXPECT_EQ(missing.details().at("errno"), Json(ENOENT));

    session::Opening nowhere = bench.opening();
    nowhere.folder = "/proc";
    const Error folder = co_await error_of(bench.app("app").open(std::move(nowhere), bench.in(Seconds(20))));
    EXPECT_EQ(folder.code(), ErrorCode::io_error);
  });
}

// How opening fails when its time ends no sooner than in the stage that `message` is about: a busy machine may need
// more time for the stages before.
Async<Error> error_in_stage(Bench& bench, std::string mode, Json setup, std::string_view message) {
  for (Milliseconds time(100);; time *= 2) {
    session::Opening opening = bench.opening();
    opening.setup = setup;
    Error error = co_await error_of(bench.app(mode).open(std::move(opening), bench.in(time)));
    if (error.message().contains(message) || time > Seconds(20)) co_return error;
  }
}

TEST_F(ProcessStartTest, GivesUpAProgramThatNeverSaysHello) {
  run([](Bench& bench) -> Async<void> {
    const Error error = co_await error_in_stage(bench, "mute", nullptr, "did not say hello");
    EXPECT_EQ(error.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(error.message(), HasSubstr("did not say hello"));
    const Error setup = co_await error_in_stage(bench, "app", "hang", "setup did not end");
    EXPECT_EQ(setup.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(setup.message(), HasSubstr("setup did not end"));
  });
}

TEST_F(ProcessStartTest, LeavesNothingWhenAnOpeningIsGivenUp) {
  run([](Bench& bench) -> Async<void> {
    TaskGroup group(bench.loop.executor());
    bool ended = false;
    group.spawn([](Bench& opening, bool& over) -> Async<void> {
      EXPECT_EQ((co_await error_of(opening.open("mute"))).code(), ErrorCode::cancelled);
      over = true;
    }(bench, ended));
    co_await bench.until([] { return descendants(::getpid()).size() == 2; });
    group.cancel();
    co_await group.join();
    EXPECT_TRUE(ended);
    co_await bench.until([] { return descendants(::getpid()).size() == 1; });
  });
}

TEST_F(ProcessStartTest, PassesOnWhatASetupFailedWith) {
  run([](Bench& bench) -> Async<void> {
    session::Opening opening = bench.opening();
    opening.setup = "refuse";
    const Error error = co_await error_of(bench.app("app").open(std::move(opening), bench.in(Seconds(20))));
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_EQ(error.message(), "refused");
    EXPECT_EQ(error.details().at("by"), Json("setup"));
  });
}

TEST_F(ProcessStartTest, RefusesAnotherVersionOfTheProtocol) {
  run([](Bench& bench) -> Async<void> {
    const Error error = co_await error_of(bench.open("old"));
    EXPECT_EQ(error.code(), ErrorCode::protocol_error);
    EXPECT_THAT(error.message(), HasSubstr("version 99"));
  });
}

TEST_F(ProcessStartTest, EndsAProgramThatSaysGarbageAtStart) {
  run([](Bench& bench) -> Async<void> {
    EXPECT_EQ((co_await error_of(bench.open("garbage"))).code(), ErrorCode::protocol_error);
    EXPECT_EQ((co_await error_of(bench.open("not_ready"))).code(), ErrorCode::protocol_error);
    co_await bench.until([] { return descendants(::getpid()).size() == 1; });
  });
}

class BrokenProtocol : public ProcessStartTest, public testing::WithParamInterface<const char*> {
 public:
  static inline std::string mode;
};

TEST_P(BrokenProtocol, FailsTheCallAndEndsTheWorker) {
  mode = GetParam();
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open(mode);
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::protocol_error) << error.message();
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::protocol_error);
    EXPECT_THAT(bench.events.losses, IsEmpty());
    co_await bench.close(*worker);
    EXPECT_THAT(descendants(::getpid()), SizeIs(1));
  });
}

INSTANTIATE_TEST_SUITE_P(Process, BrokenProtocol,
                         testing::Values("garbage_in_call", "zero_in_call", "unknown_in_call", "other_call",
                                         "no_output", "bad_state", "complains"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(ProcessStartTest, TellsTheSessionOfASecondResult) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("two_results");
    EXPECT_EQ(co_await bench.call(*worker, "any"), Json(1));
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    EXPECT_EQ(bench.events.losses.at(0).code(), ErrorCode::protocol_error);
    co_await bench.close(*worker);
    EXPECT_THAT(bench.events.losses, SizeIs(1));
  });
}

TEST_F(ProcessStartTest, EndsAWorkerWhoseStateWasRefused) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("huge_state");
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::too_large);
    EXPECT_FALSE(bench.session.exists("k"));
    EXPECT_THAT(bench.events.losses, SizeIs(1));
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::worker_lost);
    co_await bench.close(*worker);
  });
}

}  // namespace

}  // namespace sojourn::worker
