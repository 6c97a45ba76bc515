#include "sojourn/crew/crew.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "sojourn/base/descriptor.hpp"
#include "sojourn/base/error_of_test.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/crew/call_elsewhere.hpp"
#include "sojourn/crew/test_nodes.hpp"
#include "sojourn/flow/run_journal.hpp"
#include "sojourn/flow/session.hpp"
#include "sojourn/store/memory_store.hpp"

namespace sojourn::crew {
namespace {

using flow::Scope;
using testing::HasSubstr;
using testing::MatchesRegex;

// The processes that have this one for an ancestor, but for its own.
std::vector<int> descendants(int of = ::getpid()) {
  std::vector<int> found;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(of) + "/task")) {
    std::ifstream children(thread.path() / "children");
    for (int child = 0; children >> child;) {
      found.push_back(child);
      std::ranges::copy(descendants(child), std::back_inserter(found));
    }
  }
  return found;
}

class CrewTest : public testing::Test {
 protected:
  flow::Settings settings(Options options = {}) {
    crew_ = std::make_unique<Crew>(test_program(0, nullptr), options);
    return {.logging_setting = flow::LoggingSetting::none, .save_state = false, .isolated = crew_.get()};
  }

  std::string file(const std::string& name) const { return (folder_.path() / name).string(); }

  flow::ThreadPool pool_;
  TemporaryFolder folder_;
  std::unique_ptr<Crew> crew_;
};

TEST_F(CrewTest, RunsANodeInAnotherProcessWhichStaysForTheNextCall) {
  flow::Session session(pool_, settings({.processes = 1}));
  const Spot spot = session.call_sync(moved, {"here", {1, 2.5}}, 0.5);
  EXPECT_EQ(spot.name, "here");
  EXPECT_EQ(spot.at, (std::vector<double>{1.5, 3}));
  const int pid = session.call_sync(own_pid);
  EXPECT_NE(pid, ::getpid());
  EXPECT_EQ(session.call_sync(own_pid), pid);
}

TEST_F(CrewTest, RunsNodesInTheFolderAndWithTheVariablesOfTheProgram) {
  ::setenv("CREW_TEST", "a=b", 1);
  flow::Session session(pool_, settings());
  EXPECT_EQ(session.call_sync(folder_and_variable), std::filesystem::current_path().string() + " a=b");
}

TEST_F(CrewTest, WritesWhereTheProgramWrites) {
  testing::internal::CaptureStdout();
  {
    flow::Session session(pool_, settings());
    session.call_sync(says, "hello from there");
    crew_.reset();  // so that all that was written has come
  }
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("hello from there\n"));
}

TEST_F(CrewTest, KeepsTypeCodeAndMessageOfWhatANodeThrows) {
  flow::Session session(pool_, settings());
  const Error range = error_of([&] { session.call_sync(throws, "range"); });
  EXPECT_EQ(range.code(), ErrorCode::app_error);
  EXPECT_EQ(range.message(), "too far");
  EXPECT_EQ(range.details().at("type"), Json("std::out_of_range"));
  const Error error = error_of([&] { session.call_sync(throws, "error"); });
  EXPECT_EQ(error.code(), ErrorCode::not_found);
  EXPECT_EQ(error.message(), "there is no such thing");
  EXPECT_EQ(error.details().at("thing"), Json("error"));
  EXPECT_TRUE(error.retryable());
  const flow::Graph graph = session.info().graph;
  EXPECT_EQ(graph.call(0).failure->type, "std::out_of_range");
  EXPECT_EQ(graph.call(0).failure->message, "too far");
  EXPECT_EQ(graph.call(1).failure->type, "sojourn::Error");
}

TEST_F(CrewTest, EndsTheRunWithAFatalErrorOfAnotherProcessWhateverItsCallerCatches) {
  flow::Session session(pool_, settings());
  const auto careful = flow::node("careful", [](Scope& scope) -> Async<int> {
    const auto outcomes = co_await scope.call_batch(throws, {"fatal"});
    co_return outcomes.empty() ? 0 : 1;
  });
  EXPECT_THAT(error_of([&] { session.call_sync(careful); }).message(), HasSubstr("(careful > throws): no way on"));
}

TEST_F(CrewTest, ACrashFailsItsCallAloneAndSaysWhichNodeAndWhy) {
  flow::Session session(pool_, settings());
  const auto all = flow::node("all", [](Scope& scope) -> Async<std::vector<std::string>> {
    std::vector<std::string> came;
    for (const auto& outcome : co_await scope.call_batch(dies_of, {0, SIGKILL, 0, SIGSEGV, SIGABRT, 0})) {
      came.push_back(outcome ? "well" : flow::failure_of(outcome.error()).message);
    }
    co_return came;
  });
  const auto killed_by = [](const char* signal) {
    return std::string("node \"dies of\" (all > dies of): its process was killed by ") + signal;
  };
  EXPECT_THAT(session.call_sync(all), testing::ElementsAre("well", killed_by("SIGKILL"), "well", killed_by("SIGSEGV"),
                                                           killed_by("SIGABRT"), "well"));
  const Error lost = error_of([&] { session.call_sync(dies_of, SIGKILL); });
  EXPECT_EQ(lost.code(), ErrorCode::worker_lost);
  EXPECT_EQ(lost.details().at("node"), Json("dies of"));
  EXPECT_EQ(lost.details().at("signal"), Json("SIGKILL"));
}

TEST_F(CrewTest, TakesAnotherProcessWhereTheOneThatWaitedHasDied) {
  flow::Session session(pool_, settings({.processes = 1}));
  const int first = session.call_sync(own_pid);
  ::kill(first, SIGKILL);
  int second = first;
  try {
    second = session.call_sync(own_pid);
  } catch (const Error& error) {
    // It may have reached the process before anybody knew.
    EXPECT_EQ(error.code(), ErrorCode::worker_lost);
    second = session.call_sync(own_pid);
  }
  EXPECT_NE(second, first);
}

TEST_F(CrewTest, KillsAtItsDeadlineWhatDoesNotEnd) {
  flow::Settings hasty = settings({.processes = 1});
  hasty.timeout = Seconds(2);
  flow::Session session(pool_, hasty);
  const Error late = error_of([&] { session.call_sync(computes_for_ever, file("pid")); });
  EXPECT_EQ(late.code(), ErrorCode::call_timeout);
  EXPECT_FALSE(is_alive(std::stoi(wait_for_text(file("pid")))));
  EXPECT_THAT(session.info().graph.call(0).failure->message,
              HasSubstr("its process was killed, since the node did not"));
  EXPECT_EQ(session.call_sync(dies_of, 0), 0);
}

TEST_F(CrewTest, PassesACancelOnToANodeThatHeedsItAndKeepsItsProcess) {
  flow::Session session(pool_, settings({.processes = 1, .patience = std::chrono::hours(1)}));
  const std::jthread canceller([&] {
    wait_for_text(file("pid"));
    session.cancel();
  });
  EXPECT_EQ(error_of([&] { session.call_sync(waits_for_ever, file("pid")); }).code(), ErrorCode::cancelled);
  EXPECT_EQ(session.call_sync(own_pid), std::stoi(wait_for_text(file("pid"))));
}

TEST_F(CrewTest, TheFirstErrorOfCallsThatAreMadeTogetherEndsTheOthers) {
  flow::Session session(pool_, settings({.processes = 2}));
  const auto both = flow::node("both", [](Scope& scope, std::string pid_file) -> Async<void> {
    const auto fails = flow::node("fails", [pid_file](int which) -> int {
      wait_for_text(pid_file);
      throw std::domain_error("it is enough" + std::to_string(which));
    });
    const auto either = flow::node("either", [=](Scope& inner, int which) -> Async<int> {
      if (which == 0) co_return co_await inner.call(fails, which);
      co_await inner.call(computes_for_ever, pid_file);
      co_return which;
    });
    co_await scope.call_all(either, {0, 1});
  });
  EXPECT_THROW(session.call_sync(both, file("pid")), std::domain_error);
  EXPECT_FALSE(is_alive(std::stoi(wait_for_text(file("pid")))));
}

TEST_F(CrewTest, RunsAsManyAtTheSameTimeAsItHasProcesses) {
  flow::Session session(pool_, settings({.processes = 2}));
  const auto pair = flow::node("pair", [](Scope& scope, std::string one, std::string two) -> Async<bool> {
    const auto pids = co_await scope.call_all(meets, {one, two}, {two, one});  // each waits for the other
    co_return pids[0] != pids[1];
  });
  EXPECT_TRUE(session.call_sync(pair, file("one"), file("two")));
}

TEST_F(CrewTest, LetsTheOthersWaitWhereAllProcessesAreBusy) {
  flow::Session session(pool_, settings({.processes = 2}));
  const auto many = flow::node("many", [](Scope& scope) -> Async<std::set<int>> {
    const auto pid_of =
        flow::node("pid of", [](Scope& inner, int) -> Async<int> { co_return co_await inner.call(own_pid); });
    const auto pids = co_await scope.call_all(pid_of, std::vector<int>(300));
    co_return std::set<int>(pids.begin(), pids.end());
  });
  const std::set<int> pids = session.call_sync(many);
  EXPECT_LE(pids.size(), 2U);
  EXPECT_FALSE(pids.contains(::getpid()));
}

#if defined(__has_feature) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST_F(CrewTest, HoldsEachProcessToItsMemory) {
  flow::Session session(pool_, settings({.processes = 1, .limits = {.memory_bytes = 1ULL << 30}}));
  const Error full = error_of([&] { session.call_sync(fills, 2ULL << 30); });
  EXPECT_EQ(full.details().at("type"), Json("std::bad_alloc"));
  EXPECT_EQ(session.call_sync(fills, 1'000), 1'000U);
}
#endif

TEST_F(CrewTest, SaysThatTheProgramDoesNotListANode) {
  flow::Session session(pool_, settings());
  const Error missing = error_of([&] { session.call_sync(unlisted, Json(7)); });
  EXPECT_EQ(missing.code(), ErrorCode::function_not_found);
  EXPECT_EQ(missing.message(), "this program's list of isolated nodes has no function \"unlisted\"");
}

TEST_F(CrewTest, LeavesNoProcessBehind) {
  {
    flow::Session session(pool_, settings());
    session.call_sync(own_pid);
    EXPECT_FALSE(descendants().empty());
  }
  crew_.reset();
  EXPECT_TRUE(descendants().empty());
}

TEST_F(CrewTest, StartsNothingBeforeItsFirstCall) {
  flow::Session session(pool_, settings());
  EXPECT_EQ(session.call_sync(flow::node("one", [] { return 1; })), 1);
  EXPECT_TRUE(descendants().empty());
}

TEST_F(CrewTest, EndsACallWhoseProcessIsStillBeingStarted) {
  const flow::Settings with = settings();
  auto over = boost::asio::co_spawn(with.isolated->executor(),
                                    with.isolated->call({.node = "computes for ever",
                                                         .path = "computes for ever",
                                                         .arguments = {Json(file("pid"))},
                                                         .deadline = SystemClock().instant() + Seconds(1'000)}),
                                    boost::asio::use_future);
  while (descendants().empty()) std::this_thread::yield();
  crew_.reset();
  EXPECT_EQ(error_of([&] { over.get(); }).code(), ErrorCode::worker_lost);
  EXPECT_TRUE(descendants().empty());
}

// The same program, killed while a node of its runs: nobody told its processes to end.
TEST_F(CrewTest, ItsProcessesEndWithAProgramThatIsKilled) {
  const std::string pid_file = file("pid");
  std::vector<std::string> words{"/proc/self/exe", "program", pid_file};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t program = 0;
  ASSERT_EQ(::posix_spawn(&program, words[0].c_str(), nullptr, nullptr, arguments.data(), environ), 0);
  const int node = std::stoi(wait_for_text(pid_file));
  const std::vector<int> processes = descendants(program);
  EXPECT_THAT(processes, testing::Contains(node));
  ::kill(program, SIGKILL);
  ASSERT_EQ(::waitpid(program, nullptr, 0), program);
  for (const int each : processes) {
    while (is_alive(each)) std::this_thread::yield();
  }
}

TEST_F(CrewTest, ARunThatIsResumedTakesTheResultOfAnIsolatedNodeFromItsJournal) {
  SystemClock clock;
  store::MemoryStore store;
  const flow::Settings with = settings();
  const auto run = [&](std::shared_ptr<flow::RunJournal> journal) {
    flow::Session session(pool_, clock, with, std::move(journal));
    return session.call_sync(counts, file("count"));
  };
  const auto journal = flow::RunJournal::begin(pool_, store, clock);
  EXPECT_EQ(run(journal), 1);
  EXPECT_EQ(run(flow::RunJournal::resume(pool_, store, clock, journal->id())), 1);
  EXPECT_EQ(wait_for_text(file("count")), "1");
}

struct IdleProcess final : CrewProcess {
  void lost(Error) override {}
};

// Of a worker whose words could not be passed on, the pipe was closed, so that it died of the next.
TEST(CrewWords, AreLostWhereNobodyTakesThem) {
  const Descriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const Descriptor kept(::dup(STDERR_FILENO));
  ::dup2(full.get(), STDERR_FILENO);
  IdleProcess process;
  EXPECT_NO_THROW(process.log(LogLevel::info, "stderr", "words", {}));
  ::dup2(kept.get(), STDERR_FILENO);
}

TEST(CrewProgram, RefusesNodesThatNoProcessCouldTellApartOrRun) {
  const auto make = [](std::vector<flow::IsolatedNode> nodes) { const Program made(0, nullptr, nodes); };
  EXPECT_THROW(make({own_pid, own_pid}), Error);
  EXPECT_THROW(make({flow::node("plain", [] { return 1; })}), Error);
  EXPECT_NO_THROW(make({}));
}

}  // namespace
}  // namespace sojourn::crew
