#include "sojourn/flow/run_journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/asio/this_coro.hpp>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"
#include "sojourn/store/memory_store.hpp"
#include "sojourn/store/sqlite_store.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// What a flow's nodes did, in the first life of the program and in the second.
struct World {
  std::map<std::string, int> runs;
  bool hangs = true;  // the first life: nodes that may hang do, and the program is killed then
};

Async<int> fetch(World& world, std::string name, bool hangs) {
  ++world.runs[name];
  if (hangs && world.hangs) co_await wait_for_ever();
  co_return static_cast<int>(name.size());
}

class FlowJournal : public FlowTest {
 protected:
  // Runs `node` until nothing moves any more, and forgets about it, as a crash does. The journal's id.
  template <class Result>
  std::string crash_in(Node<Result> node) {
    const auto journal = RunJournal::begin(one_thread, store, clock);
    Session session(one_thread, clock, {}, journal);
    loop.run([](Session& in, Node<Result> called, ManualClock& with) -> Async<void> {
      TaskGroup group(co_await boost::asio::this_coro::executor);
      group.spawn([](Session& s, Node<Result> n) -> Async<void> {
        EXPECT_THROW(co_await s.call(std::move(n)), Error);
      }(in, std::move(called)));
      co_await settle(with);
      group.cancel();
      co_await group.join();
    }(session, std::move(node), clock));
    world.hangs = false;
    return journal->id();
  }

  template <class Result>
  Result resume(const std::string& id, Node<Result> node) {
    Session session(one_thread, clock, {}, RunJournal::resume(one_thread, store, clock, id));
    EXPECT_EQ(session.id(), id);
    return session.call_sync(node);
  }

  store::MemoryStore store;
  World world;
  const Node<int> safe = node(replay_safe("safe"), [this]() { return fetch(world, "safe", true); });
  const Node<int> once = node("once", [this]() { return fetch(world, "once", false); });
  const Node<int> risky = node("risky", [this]() { return fetch(world, "risky", true); });
};

TEST_F(FlowJournal, RunsNoNodeAgainThatHadEnded) {
  const auto root = node(replay_safe("root"), [this](Scope& scope) -> Async<int> {
    const int first = co_await scope.call(once);
    const int second = co_await scope.call(once);
    co_return first + second + co_await scope.call(safe) + co_await scope.call(once);
  });
  const std::string id = crash_in(root);
  EXPECT_EQ(world.runs["once"], 2);
  EXPECT_EQ(world.runs["safe"], 1);
  EXPECT_EQ(resume(id, root), 16);
  EXPECT_EQ(world.runs["once"], 3);
  EXPECT_EQ(world.runs["safe"], 2);
  EXPECT_EQ(resume(id, root), 16);  // all of it had ended
  EXPECT_EQ(world.runs["once"], 3);
  EXPECT_EQ(world.runs["safe"], 2);
}

TEST_F(FlowJournal, GoesOnWithTheCallsOfABatchThatHadNotEnded) {
  const auto step = node(replay_safe("step"), [this](int n) { return fetch(world, std::to_string(n), n % 2 == 1); });
  const auto root = node(replay_safe("root"), [step](Scope& scope) -> Async<std::vector<int>> {
    co_return co_await scope.call_all(step, {8, 9, 10, 11, 12});
  });
  const std::string id = crash_in(root);
  EXPECT_THAT(resume(id, root), ElementsAre(1, 1, 2, 2, 2));
  EXPECT_EQ(world.runs, (std::map<std::string, int>{{"8", 1}, {"9", 2}, {"10", 1}, {"11", 2}, {"12", 1}}));
}

TEST_F(FlowJournal, StopsWhereNobodyKnowsWhatANodeDid) {
  const auto root = node(replay_safe("root"), [this](Scope& scope) -> Async<int> {
    try {
      co_return co_await scope.call(risky);
    } catch (const Error&) {
      // The run must stop all the same.
    }
    co_return 0;
  });
  const std::string id = crash_in(root);
  for (int time = 0; time < 2; ++time) {
    EXPECT_THAT(error_of([&] { resume(id, root); }),
                Pair(ErrorCode::uncertain, HasSubstr("node \"risky\" of flow " + id + " had begun")));
  }
  EXPECT_EQ(world.runs["risky"], 1);
}

TEST_F(FlowJournal, RepeatsTheFailureOfANodeWithoutRunningIt) {
  const auto fails = node("fails", [this]() -> int {
    ++world.runs["fails"];
    throw std::out_of_range("too far");
  });
  const auto root = node(replay_safe("root"), [=, this](Scope& scope) -> Async<std::string> {
    std::string why;
    try {
      co_await scope.call(fails);
    } catch (const std::exception& error) {
      why = error.what();
    }
    co_await scope.call(safe);
    co_return why;
  });
  const std::string id = crash_in(root);
  EXPECT_EQ(resume(id, root), "node \"fails\" had failed: too far");
  EXPECT_EQ(world.runs["fails"], 1);
}

TEST_F(FlowJournal, RefusesAFlowThatMakesOtherCalls) {
  const auto first = node(replay_safe("root"), [this](Scope& scope) -> Async<int> {
    co_await scope.call(once);
    co_return co_await scope.call(safe);
  });
  const auto other =
      node(replay_safe("root"), [this](Scope& scope) -> Async<int> { co_return co_await scope.call(safe); });
  const std::string id = crash_in(first);
  EXPECT_THAT(error_of([&] { resume(id, other); }),
              Pair(ErrorCode::conflict, HasSubstr("had called node \"once\" where it now calls \"safe\"")));
  EXPECT_EQ(resume(id, first), 4);
}

TEST_F(FlowJournal, KeepsAnOutputThatIsLargerThanAnEvent) {
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += i % 3 == 0 ? "\xe2\x82\xac" : "x";
  const auto large = node("large", [&] {
    ++world.runs["large"];
    return text;
  });
  const auto root = node(replay_safe("root"), [&, large](Scope& scope) -> Async<bool> {
    const bool same = co_await scope.call(large) == text;
    co_await scope.call(safe);
    co_return same;
  });
  const std::string id = crash_in(root);
  EXPECT_TRUE(resume(id, root));
  EXPECT_EQ(world.runs["large"], 1);
}

TEST_F(FlowJournal, FailsACallThatItCannotKeep) {
  const auto ratio = node("ratio", [] { return std::nan(""); });
  Session session(one_thread, clock, {}, RunJournal::begin(one_thread, store, clock));
  EXPECT_THAT(error_of([&] { session.call_sync(ratio); }), Pair(ErrorCode::not_serializable, testing::_));
}

TEST_F(FlowJournal, FailsTheRunWhenTheStoreFails) {
  const auto journal = RunJournal::begin(one_thread, store, clock);
  Session session(one_thread, clock, {}, journal);
  EXPECT_EQ(session.call_sync(once), 4);
  loop.run(store.close());
  EXPECT_THROW(session.call_sync(once), Error);
  EXPECT_THROW(session.call_sync(once), Error);
  EXPECT_EQ(world.runs["once"], 1);
}

TEST_F(FlowJournal, CannotBeResumedOnceItWasEnded) {
  const auto journal = RunJournal::begin(one_thread, store, clock);
  journal->end();
  EXPECT_THAT(error_of([&] { RunJournal::resume(one_thread, store, clock, journal->id()); }),
              Pair(ErrorCode::session_ended, HasSubstr(journal->id())));
  EXPECT_THAT(error_of([&] { RunJournal::resume(one_thread, store, clock, "sess_20260101_000000_abcdef"); }),
              Pair(ErrorCode::session_not_found, HasSubstr("sess_20260101_000000_abcdef")));
}

TEST(FlowJournalOnDisk, KeepsEveryCallOfAFanOut) {
  const TemporaryFolder folder;
  {
    ThreadPool pool(3);
    const auto store = store::SqliteStore::open({.folder = folder.path()});
    SystemClock clock;
    std::atomic<int> runs = 0;
    const auto step = node(replay_safe("step"), [&runs](int n) {
      ++runs;
      return n * n;
    });
    const auto root = node(replay_safe("root"), [step](Scope& scope) -> Async<int> {
      std::vector<int> numbers(1'000);
      std::iota(numbers.begin(), numbers.end(), 0);
      const auto squares = co_await scope.call_all(step, numbers);
      co_return std::accumulate(squares.begin(), squares.end(), 0);
    });
    const auto journal = RunJournal::begin(pool, *store, clock);
    EXPECT_EQ(Session(pool, clock, {}, journal).call_sync(root), 332'833'500);
    Session again(pool, clock, {}, RunJournal::resume(pool, *store, clock, journal->id()));
    EXPECT_EQ(again.call_sync(root), 332'833'500);
    EXPECT_EQ(runs, 1'000);
    pool.run(store->close());
  }
}

}  // namespace
}  // namespace sojourn::flow
