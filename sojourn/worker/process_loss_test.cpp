#include "sojourn/worker/process_app.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <csignal>
#include <string>

#include "sojourn/worker/process_test_bench.hpp"

namespace sojourn::worker {

namespace {

using Bench = ProcessTestBench;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ProcessLossTest : public Bench {};

TEST_F(ProcessLossTest, DoesNotLetAnAppClaimThatItsWorkerIsLost) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Error error = co_await error_of(bench.call(*worker, "claim_lost"));
    EXPECT_EQ(error.code(), ErrorCode::app_error);
    EXPECT_EQ(error.details().at("code"), Json("WORKER_LOST"));
    EXPECT_EQ(co_await bench.call(*worker, "echo", 1), Json(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, FailsTheCallInWhichTheProcessExits) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Error error = co_await error_of(bench.call(*worker, "exit"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_THAT(error.message(), HasSubstr("exited with status 4"));
    EXPECT_EQ(error.details().at("exit_status"), Json(4));
    EXPECT_EQ((co_await error_of(bench.call(*worker, "echo"))).code(), ErrorCode::worker_lost);
    EXPECT_THAT(bench.events.losses, IsEmpty());
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, NamesTheSignalThatEndedAProcess) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const Error error = co_await error_of(bench.call(*worker, "abort"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_EQ(error.details().at("signal"), Json("SIGABRT"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, TellsTheSessionWhenAnIdleProcessDies) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    ::kill(static_cast<pid_t>(worker->describe().at("pid").as_int64()), SIGKILL);
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    EXPECT_EQ(bench.events.losses.at(0).code(), ErrorCode::worker_lost);
    EXPECT_EQ(bench.events.losses.at(0).details().at("signal"), Json("SIGKILL"));
    co_await bench.close(*worker);
    EXPECT_THAT(bench.events.losses, SizeIs(1));
  });
}

Async<void> kill_soon(session::Worker& worker, TestScope& scope) {
  while (scope.outputs.empty()) co_await scope.changed.wait();
  worker.kill(Error(ErrorCode::call_timeout, "too slow"));
}

TEST_F(ProcessLossTest, FailsTheRunningCallWithTheCauseOfItsKilling) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("until_cancelled"));
    TaskGroup group(bench.loop.executor());
    group.spawn(kill_soon(*worker, scope));
    EXPECT_EQ((co_await error_of(worker->call(scope))).code(), ErrorCode::call_timeout);
    co_await group.join();
    co_await bench.close(*worker);
    EXPECT_THAT(bench.events.losses, IsEmpty());
  });
}

TEST_F(ProcessLossTest, EndsAWorkerWhoseCallWasGivenUp) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    TestScope scope(bench.session, bench.request("hang"));
    TaskGroup group(bench.loop.executor());
    bool ended = false;
    group.spawn([](session::Worker& called, TestScope& in, bool& over) -> Async<void> {
      EXPECT_EQ((co_await error_of(called.call(in))).code(), ErrorCode::cancelled);
      over = true;
    }(*worker, scope, ended));
    co_await sleep_until(bench.clock, bench.in(Milliseconds(1)));
    group.cancel();
    co_await group.join();
    EXPECT_TRUE(ended);
    EXPECT_THAT(bench.events.losses, SizeIs(1));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, DoesNotTakeAResultForTheNextCallsWhoseOwnCallWasGivenUp) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("hasty_checkpoint");
    TestScope scope(bench.session, bench.request("any"));
    scope.checkpoint_error =
        std::make_exception_ptr(boost::system::system_error(boost::asio::error::operation_aborted));
    co_await error_of(worker->call(scope));
    EXPECT_EQ((co_await error_of(bench.call(*worker, "any"))).code(), ErrorCode::worker_lost);
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, EndsAWorkerThatAsksAndNeverReads) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("deaf");
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::protocol_error);
    EXPECT_THAT(error.message(), HasSubstr("unread"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, EndsAWorkerThatHangsPastItsClosing) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("hangs_at_close");
    const Instant before = bench.clock.instant();
    EXPECT_EQ((co_await error_of(bench.close(*worker, Milliseconds(200)))).code(), ErrorCode::worker_lost);
    EXPECT_LT(bench.clock.instant() - before, Seconds(5));
  });
}

TEST_F(ProcessLossTest, KillsAWorkerThatIgnoresTerm) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("ignores_term");
    const auto pid = static_cast<pid_t>(worker->describe().at("pid").as_int64());
    EXPECT_EQ((co_await error_of(bench.close(*worker, Milliseconds(200)))).code(), ErrorCode::worker_lost);
    EXPECT_NE(::kill(pid, 0), 0);
  });
}

TEST_F(ProcessLossTest, LeavesNoDaemonOfAWorkerAlive) {
  run([](Bench& bench) -> Async<void> {
    auto daemonic = co_await bench.open("app");
    auto other = co_await bench.open("app");
    co_await bench.call(*daemonic, "daemon");
    co_await bench.call(*other, "daemon");
    // The supervisor, two workers, two daemons.
    EXPECT_THAT(descendants(::getpid()), SizeIs(5));
    co_await bench.close(*daemonic);
    EXPECT_THAT(descendants(::getpid()), SizeIs(3));
    EXPECT_EQ(co_await bench.call(*other, "echo", 1), Json(1));
    other->kill(Error(ErrorCode::unavailable, "enough"));
    co_await bench.close(*other);
    EXPECT_THAT(descendants(::getpid()), SizeIs(1));
  });
}

TEST_F(ProcessLossTest, CatchesADaemonThatForksItselfAwayAllTheTime) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    co_await bench.call(*worker, "hopper");
    co_await bench.close(*worker);
    EXPECT_THAT(descendants(::getpid()), SizeIs(1));
  });
}

TEST_F(ProcessLossTest, ReportsThatAnAppCouldNotClose) {
  run([](Bench& bench) -> Async<void> {
    session::Opening opening = bench.opening();
    opening.setup = "cannot close";
    auto worker = co_await bench.app("app").open(std::move(opening), bench.in(Seconds(20)));
    co_await bench.close(*worker);
    const LogLine* line = bench.events.find("a resource could not be cleaned up");
    EXPECT_NE(line, nullptr);
    if (line != nullptr) EXPECT_THAT(to_text(line->fields), HasSubstr("the teeth are stuck"));
  });
}

TEST_F(ProcessLossTest, ReportsResourcesThatCouldNotBeCleanedUp) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("failures");
    co_await bench.call(*worker, "any");
    co_await bench.close(*worker);
    const LogLine* line = bench.events.find("a resource could not be cleaned up");
    EXPECT_TRUE(line != nullptr && line->level == LogLevel::error);
    if (line == nullptr) co_return;
    EXPECT_EQ(line->fields.at("code"), Json("cleanup_failed"));
    EXPECT_EQ(line->fields.at("failure"), Json({{"id", "r1"}, {"kind", "file"}, {"message", "busy"}}));
  });
}

TEST_F(ProcessLossTest, EndsAWorkerThatClosesItsConnection) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("closes_socket");
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_THAT(error.message(), HasSubstr("closed its connection"));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, SaysThatACallNeverReachedAWorkerThatHadLeft) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("leaves_after_result");
    const std::string socket = fmt::format("/proc/{}/fd/3", worker->describe().at("pid").as_int64());
    EXPECT_EQ(co_await bench.call(*worker, "any"), Json(1));
    std::error_code gone;
    while (std::filesystem::is_symlink(std::filesystem::symlink_status(socket, gone))) {
    }  // without a turn of the loop, in which the worker would be found out
    const Error error = co_await error_of(bench.call(*worker, "any"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_TRUE(session::is_unreached(error));
    co_await bench.close(*worker);
  });
}

TEST_F(ProcessLossTest, LosesItsWorkersWithTheSupervisorAndStartsAnother) {
  run([](Bench& bench) -> Async<void> {
    auto worker = co_await bench.open("app");
    const pid_t first = bench.supervisor->pid();
    ::kill(first, SIGKILL);
    co_await bench.until([&bench] { return !bench.events.losses.empty(); });
    EXPECT_EQ(bench.events.losses.at(0).code(), ErrorCode::worker_lost);
    co_await bench.close(*worker);
    auto second = co_await bench.open("app");
    EXPECT_NE(bench.supervisor->pid(), first);
    EXPECT_EQ(co_await bench.call(*second, "echo", 1), Json(1));
    co_await bench.close(*second);
  });
}

}  // namespace

}  // namespace sojourn::worker
