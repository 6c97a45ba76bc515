#include "sojourn/worker/fork_server.hpp"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "sojourn/base/task_group.hpp"
#include "sojourn/worker/cgroup.hpp"
#include "sojourn/worker/process_test_bench.hpp"
#include "sojourn/worker/worker_users.hpp"

namespace sojourn::worker {

namespace {

using Bench = ProcessTestBench;
using testing::HasSubstr;

class ForkServerTest : public Bench {};

Manifest manifest(const std::string& mode) {
  Manifest manifest;
  manifest.info.name = "tests/forks";
  manifest.folder = "/tmp";
  manifest.command = {this_program(), "worker", mode};
  manifest.prefork = true;
  return manifest;
}

ForkServer::Options options(const std::string& mode) {
  return {.app = "tests/forks",
          .command = {this_program(), "worker", mode},
          .environment = {"SOJOURN_PREFORK=1", "SOJOURN_PROTOCOL=1"},
          .folder = "/tmp",
          .limits = {}};
}

pid_t pid_of(const session::Worker& worker) {
  return static_cast<pid_t>(worker.describe().at("pid").as_int64());
}

pid_t parent_of(const ProcessApp& app) {
  return static_cast<pid_t>(app.describe().at("parent").as_int64());
}

// What the tests' workers leave behind.
std::ptrdiff_t sleepers() {
  return std::ranges::count_if(descendants(::getpid()), [](pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    return std::getline(file, name) && name == "sleep";
  });
}

// As /proc names it; ' ' for a process that is not there.
char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos ? ' ' : text.at(name_end + 2);
}

TEST_F(ForkServerTest, ForksAWorkerForEachSession) {
  run([](Bench& bench) -> Async<void> {
    ProcessApp app(manifest("app"), *bench.supervisor, bench.isolation, bench.clock, bench.log);
    const auto first = co_await app.open(bench.opening(), bench.in(Seconds(20)));
    const auto second = co_await app.open(bench.opening(), bench.in(Seconds(20)));
    EXPECT_NE(pid_of(*first), pid_of(*second));
    const Json output = co_await bench.call(*second, "environment");
    EXPECT_EQ(output.as_object().at("SOJOURN_SESSION"), Json("sess_test"));
    EXPECT_EQ(output.as_object().at("HOME"), Json(bench.folder.string()));
    EXPECT_FALSE(output.as_object().contains("SOJOURN_PREFORK"));
    co_await bench.close(*first);
    EXPECT_EQ(co_await bench.call(*second, "echo", 5), Json(5));
    co_await bench.close(*second);
    co_await app.close();
  });
}

TEST_F(ForkServerTest, LeavesLiveWorkersAloneWhenTheParentIsKilledAndStartsAnother) {
  run([](Bench& bench) -> Async<void> {
    ProcessApp app(manifest("app"), *bench.supervisor, bench.isolation, bench.clock, bench.log);
    const auto first = co_await app.open(bench.opening(), bench.in(Seconds(20)));
    const pid_t parent = parent_of(app);
    ::kill(parent, SIGKILL);
    co_await bench.until([&app, parent] { return app.describe().at("parent") != Json(parent); });
    const auto second = co_await app.open(bench.opening(), bench.in(Seconds(20)));
    EXPECT_NE(parent_of(app), parent);
    EXPECT_EQ(co_await bench.call(*first, "echo", 5), Json(5));
    EXPECT_EQ(co_await bench.call(*second, "echo", 6), Json(6));
    co_await bench.close(*first);
    co_await bench.close(*second);
    co_await app.close();
  });
}

TEST_F(ForkServerTest, ReportsHowAForkEnded) {
  run([](Bench& bench) -> Async<void> {
    ProcessApp app(manifest("app"), *bench.supervisor, bench.isolation, bench.clock, bench.log);
    const auto worker = co_await app.open(bench.opening(), bench.in(Seconds(20)));
    const Error error = co_await error_of(bench.call(*worker, "exit"));
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    EXPECT_THAT(error.message(), HasSubstr("exited with status 4"));
    co_await bench.close(*worker);
    co_await app.close();
  });
}

TEST_F(ForkServerTest, MakesAForkTheUserOfItsLease) {
  run([](Bench& bench) -> Async<void> {
    if (::geteuid() != 0) co_return;  // nobody else can, and WorkerUsers says so
    const std::filesystem::path data = bench.folder / "data";
    std::filesystem::create_directories(data);
    std::filesystem::permissions(bench.folder, std::filesystem::perms(0711));
    const mode_t mask = ::umask(022);
    const uid_t user = 1'000'000 + static_cast<uid_t>(::getpid()) * 10;
    WorkerUsers users({user, user}, data);
    ForkServer forks(*bench.supervisor, bench.clock, bench.log, options("app"));
    Recorder events;
    ForkServer::Forked forked = co_await forks.fork(users.lease(), bench.in(Seconds(20)));
    EXPECT_EQ(user_of(forked.process->pid()), 0u);  // it becomes another once it was limited and is greeted
    ProcessWorker worker(bench.loop.executor(), bench.clock, bench.log, forked.process, std::move(forked.ends),
                         &events);
    co_await worker.greet(bench.in(Seconds(20)));
    EXPECT_EQ(user_of(forked.process->pid()), user);
    co_await worker.close(session::CloseReason::ended, bench.in(Seconds(5)));
    co_await forks.close();
    ::umask(mask);
  });
}

TEST_F(ForkServerTest, KillsWhatAForkLeft) {
  run([](Bench& bench) -> Async<void> {
    ProcessApp app(manifest("app"), *bench.supervisor, bench.isolation, bench.clock, bench.log);
    const auto worker = co_await app.open(bench.opening(), bench.in(Seconds(20)));
    co_await bench.call(*worker, "daemon");
    co_await bench.until([] { return sleepers() == 1; });
    co_await bench.close(*worker);
    EXPECT_EQ(sleepers(), 0);
    co_await app.close();
  });
}

TEST_F(ForkServerTest, TellsWhyAPreloadFailedAndWaitsBeforeItTriesAgain) {
  run([](Bench& bench) -> Async<void> {
    ProcessApp app(manifest("fails_preload"), *bench.supervisor, bench.isolation, bench.clock, bench.log);
    for (int i = 0; i < 3; ++i) {
      const Error error = co_await error_of(app.open(bench.opening(), bench.in(Seconds(20))));
      EXPECT_EQ(error.code(), ErrorCode::worker_start_failed);
      EXPECT_THAT(error.message(), HasSubstr("no model here"));
    }
    co_await app.close();
  });
}

Async<std::optional<Error>> failure_of(ForkServer& forks, Instant deadline) {
  std::optional<Error> failed;
  try {
    co_await forks.fork(nullptr, deadline);
  } catch (const Error& error) {
    failed = error;
  }
  co_return failed;
}

TEST_F(ForkServerTest, SaysThatAWorkerDidNotStartWhileALostParentIsNotTriedAgain) {
  run([](Bench& bench) -> Async<void> {
    ManualClock clock;  // ahead of what the supervisor waits by
    clock.advance(std::chrono::ceil<Microseconds>(bench.clock.instant() - clock.instant()) + Seconds(600));
    ForkServer forks(*bench.supervisor, clock, bench.log, options("refuses_forks"));
    for (int i = 0; i < 2; ++i) {
      const auto failed = co_await failure_of(forks, clock.instant() + Seconds(600));
      EXPECT_TRUE(failed);
      if (!failed) continue;
      EXPECT_EQ(failed->code(), ErrorCode::worker_start_failed);
      EXPECT_THAT(failed->message(), HasSubstr("did not fork it"));
    }
    co_await forks.close();
  });
}

// What a fork fails with for one who waits for it until `time` has passed, which it does at once.
Async<std::optional<Error>> failure_within(ForkServer& forks, ManualClock& clock, Seconds time) {
  std::optional<Error> failed;
  TaskGroup group(co_await boost::asio::this_coro::executor);
  group.spawn([](ForkServer& in, Instant deadline, std::optional<Error>& why) -> Async<void> {
    why = co_await failure_of(in, deadline);
  }(forks, clock.instant() + time, failed));
  group.spawn([](ManualClock& turned, Seconds by) -> Async<void> {
    turned.advance(by);
    co_return;
  }(clock, time));
  co_await group.join();
  co_return failed;
}

TEST_F(ForkServerTest, ReplacesAParentThatHangsHoweverShortEachOneWaits) {
  run([](Bench& bench) -> Async<void> {
    ManualClock clock;  // ahead of what the supervisor waits by
    clock.advance(std::chrono::ceil<Microseconds>(bench.clock.instant() - clock.instant()) + Seconds(600));
    ForkServer forks(*bench.supervisor, clock, bench.log, options("app"));
    EXPECT_FALSE(co_await failure_of(forks, clock.instant() + Seconds(600)));
    const pid_t hung = forks.parent();
    ::kill(hung, SIGSTOP);
    // What it had begun before it hung may still answer once, at any time.
    for (int i = 0; i < 30 && forks.parent() == hung; ++i) {
      co_await failure_within(forks, clock, Seconds(3));
    }
    EXPECT_NE(forks.parent(), hung);
    if (forks.parent() != hung) EXPECT_FALSE(co_await failure_of(forks, clock.instant() + Seconds(600)));
    co_await forks.close();
  });
}

TEST_F(ForkServerTest, RefusesThreadsThatPreloadLeft) {
  run([](Bench& bench) -> Async<void> {
    ProcessApp app(manifest("leaves_thread"), *bench.supervisor, bench.isolation, bench.clock, bench.log);
    const Error error = co_await error_of(app.open(bench.opening(), bench.in(Seconds(20))));
    EXPECT_THAT(error.message(), HasSubstr("preload left threads: worker_tests ("));
    co_await app.close();
  });
}

TEST_F(ForkServerTest, KeepsSparesAndGivesThemToSessions) {
  run([](Bench& bench) -> Async<void> {
    Manifest warm = manifest("app");
    for (const bool prefork : {true, false}) {
      warm.prefork = prefork;
      warm.min_warm = 2;
      ProcessApp app(warm, *bench.supervisor, bench.isolation, bench.clock, bench.log);
      app.keep_warm();
      const auto full = [&app] { return app.describe().at("spares") == Json(2); };
      co_await bench.until(full);
      const auto worker = co_await app.open(bench.opening(), bench.in(Seconds(20)));
      const Json output = co_await bench.call(*worker, "environment");
      EXPECT_EQ(output.as_object().at("TMPDIR"), Json(bench.folder.string() + "/tmp"));
      co_await bench.until(full);
      co_await bench.close(*worker);
      co_await app.close();
    }
  });
}

// What an app with spares says of a session whose setup lets `deaths` workers die, and how many did.
struct Leased {
  std::optional<Error> failed;
  std::ptrdiff_t deaths = 0;
};

Async<Leased> lease_a_spare(Bench& bench, bool prefork, int deaths, bool holds) {
  Manifest warm = manifest("app");
  warm.prefork = prefork;
  warm.min_warm = 3;
  ProcessApp app(warm, *bench.supervisor, bench.isolation, bench.clock, bench.log);
  app.keep_warm();
  co_await bench.until([&app] { return app.describe().at("spares") == Json(3); });
  const std::filesystem::path counted = bench.folder / (prefork ? "forks" : "processes");
  std::filesystem::create_directory(counted);
  session::Opening opening = bench.opening();
  opening.setup = JsonObject{{"deaths", deaths}, {"folder", counted.string()}, {"holds", holds}};
  Leased leased;
  std::unique_ptr<session::Worker> worker;
  try {
    worker = co_await app.open(std::move(opening), bench.in(Seconds(20)));
  } catch (const Error& error) {
    leased.failed = error;
  }
  if (worker) {
    EXPECT_EQ(co_await bench.call(*worker, "echo", 5), Json(5));
    co_await bench.close(*worker);
  }
  co_await app.close();
  leased.deaths = std::distance(std::filesystem::directory_iterator(counted), {});
  std::filesystem::remove_all(counted);
  co_return leased;
}

TEST_F(ForkServerTest, ANewWorkerTakesThePlaceOfASpareThatDiesAsItIsLeased) {
  run([](Bench& bench) -> Async<void> {
    for (const bool prefork : {true, false}) {
      const Leased leased = co_await lease_a_spare(bench, prefork, 1, false);
      EXPECT_FALSE(leased.failed) << leased.failed->message();
      EXPECT_EQ(leased.deaths, 1);
    }
  });
}

TEST_F(ForkServerTest, ASetupThatKillsItsWorkerHasNoMoreThanOneSpare) {
  run([](Bench& bench) -> Async<void> {
    const Leased leased = co_await lease_a_spare(bench, true, 100, false);
    EXPECT_TRUE(leased.failed && leased.failed->code() == ErrorCode::worker_start_failed);
    EXPECT_EQ(leased.deaths, 2);
  });
}

TEST_F(ForkServerTest, ASpareThatDiesWithAResourceIsNotReplacedUnnoticed) {
  run([](Bench& bench) -> Async<void> {
    const Leased leased = co_await lease_a_spare(bench, true, 1, true);
    EXPECT_TRUE(leased.failed && leased.failed->code() == ErrorCode::worker_start_failed);
    EXPECT_EQ(leased.deaths, 1);
  });
}

TEST_F(ForkServerTest, WaitsForItsTurnToForkNoLongerThanItsDeadline) {
  run([](Bench& bench) -> Async<void> {
    ManualClock clock;  // ahead of what the supervisor waits by
    clock.advance(std::chrono::ceil<Microseconds>(bench.clock.instant() - clock.instant()) + Seconds(600));
    ForkServer forks(*bench.supervisor, clock, bench.log, options("app"));
    EXPECT_FALSE(co_await failure_of(forks, clock.instant() + Seconds(600)));
    const pid_t hung = forks.parent();
    ::kill(hung, SIGSTOP);
    co_await bench.until([hung] { return state_of(hung) == 'T'; });
    co_await failure_within(forks, clock, Seconds(3));  // what it had begun before it hung may answer this one
    TaskGroup group(bench.loop.executor());
    std::optional<Error> first;
    group.spawn([](ForkServer& in, Instant deadline, std::optional<Error>& why) -> Async<void> {
      why = co_await failure_of(in, deadline);
    }(forks, clock.instant() + Seconds(20), first));
    const auto second = co_await failure_within(forks, clock, Seconds(3));
    EXPECT_TRUE(second && second->code() == ErrorCode::worker_start_failed);
    EXPECT_FALSE(first);
    clock.advance(Seconds(17));
    co_await group.join();
    EXPECT_TRUE(first);
    EXPECT_EQ(forks.parent(), hung);
    co_await forks.close();
  });
}

std::ptrdiff_t groups_in(const std::filesystem::path& folder) {
  return std::ranges::count_if(std::filesystem::directory_iterator(folder),
                               [](const auto& entry) { return entry.is_directory(); });
}

class ForkServerCgroupTest : public Bench {};

TEST_F(ForkServerCgroupTest, LeavesNoGroupOfAForkThatCannotBeLimited) {
  run([](Bench& bench) -> Async<void> {
    const CgroupPlace place = prepare_cgroups(0x7E58);
    if (place.folder.empty()) co_return;  // prepare_cgroups says why
    Supervisor supervisor(bench.loop.executor(), bench.clock, bench.log, {.cgroups = place.folder.string()});
    ForkServer::Options unlimited = options("app");
    unlimited.limits.cpu_seconds = ~std::uint64_t{0};  // the second after it cannot be named
    ForkServer forks(supervisor, bench.clock, bench.log, unlimited);
    const auto failed = co_await failure_of(forks, bench.in(Seconds(60)));
    EXPECT_TRUE(failed && failed->code() == ErrorCode::worker_start_failed);
    co_await forks.close();
    co_await bench.until([&place] { return groups_in(place.folder) == 0; });
    co_await supervisor.close();
  });
}

}  // namespace

}  // namespace sojourn::worker
