#include "sojourn/flow/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <latch>
#include <thread>

#include "sojourn/base/ids.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const auto twice = node("twice", [](int n) { return 2 * n; });
const auto boom = node("boom", [](int n) -> int { throw std::out_of_range("no " + std::to_string(n)); });
const auto hang = node("hang", []() -> Async<void> { co_await wait_for_ever(); });

using FlowSession = FlowTest;

TEST(FlowSessionOnAPool, CallsANodeFromOutside) {
  ThreadPool pool;
  Session session(pool);
  EXPECT_EQ(session.call_sync(twice, 21), 42);
}

TEST_F(FlowSession, AwaitsACallFromOutside) {
  Session session(one_thread, clock, {});
  const auto main = [](Session& in) -> Async<int> { co_return co_await in.call(twice, 4) + 1; };
  loop.run([](Async<int> work) -> Async<void> { EXPECT_EQ(co_await std::move(work), 9); }(main(session)));
}

TEST_F(FlowSession, HasTheDefaultsOfTheSeed) {
  const Session session(one_thread);
  EXPECT_EQ(session.config().timeout, Seconds(150));
  EXPECT_FALSE(session.config().end_on_error);
  EXPECT_TRUE(session.config().record);
}

// Case 10.
TEST_F(FlowSession, HasAnIdOfItsOwnOrTheOneItIsGiven) {
  const Session first(one_thread), second(one_thread), named(one_thread, {.run_identifier = "nightly-4"});
  EXPECT_TRUE(is_session_id(first.id()));
  EXPECT_NE(first.id(), second.id());
  EXPECT_EQ(named.id(), "nightly-4");
}

TEST_F(FlowSession, RefusesAnIdThatCouldBeNoFileName) {
  for (const char* id : {"", "../x", ".hidden", "a b", "a/b"}) {
    EXPECT_THAT(error_of([&] { Session(one_thread, {.run_identifier = id}); }),
                Pair(ErrorCode::invalid_request, HasSubstr("run_identifier")))
        << id;
  }
}

// Case 76, and the defect that a node which returns nothing stayed open for ever.
TEST_F(FlowSession, RecordsEveryCallWithWhatWentInAndCameOut) {
  Session session(one_thread);
  const auto nothing = node("nothing", [](std::string) {});
  session.call_sync(twice, 3);
  session.call_sync(nothing, "x");
  const SessionInfo info = session.info();
  ASSERT_EQ(info.graph.calls().size(), 2U);
  EXPECT_EQ(*info.graph.call(0).input, "[3]");
  EXPECT_EQ(*info.graph.call(0).output, "6");
  EXPECT_EQ(*info.graph.call(1).input, "[\"x\"]");
  EXPECT_EQ(info.graph.call(1).status(), CallStatus::completed);
  EXPECT_EQ(info.status(), CallStatus::completed);
  EXPECT_EQ(info.answer(), Json(JsonArray{6, nullptr}));
  EXPECT_EQ(info.graph.roots().size(), 2U);
}

TEST_F(FlowSession, RecordsNothingWhenItIsToldNotTo) {
  Session session(one_thread, {.record = false});
  EXPECT_EQ(session.call_sync(twice, 3), 6);
  EXPECT_TRUE(session.info().graph.empty());
}

TEST_F(FlowSession, RecordsWhatCannotBeWrittenAsJsonByTheReason) {
  Session session(one_thread);
  const auto ratio = node("ratio", [](double a, double b) { return a / b; });
  EXPECT_TRUE(std::isinf(session.call_sync(ratio, 1.0, 0.0)));
  EXPECT_THAT(*session.info().graph.call(0).output, HasSubstr("not_recorded"));
}

TEST_F(FlowSession, PassesOnAHundredMegabytesAndRecordsThatTheyWere) {
  Session session(one_thread);
  const auto large = node("large", [] { return std::string(100 << 20, 'x'); });
  EXPECT_EQ(session.call_sync(large).size(), 100U << 20);
  EXPECT_LT(session.info().graph.call(0).output->size(), 1'000U);
}

// Case 77.
TEST_F(FlowSession, ThrowsWhatTheNodeThrew) {
  Session session(one_thread);
  EXPECT_THROW(session.call_sync(boom, 7), std::out_of_range);
  const SessionInfo info = session.info();
  EXPECT_EQ(info.status(), CallStatus::failed);
  EXPECT_EQ(info.graph.call(0).failure->type, "std::out_of_range");
  EXPECT_EQ(info.graph.call(0).failure->message, "no 7");
}

TEST_F(FlowSession, PassesOnWhatIsNoException) {
  Session session(one_thread);
  const auto odd = node("odd", []() -> int { throw 42; });
  EXPECT_THROW(session.call_sync(odd), int);
  EXPECT_EQ(session.info().graph.call(0).failure->type, "int");
}

Async<void> expect_timeout(Session& session, ManualClock& clock) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  std::optional<Error> error;
  group.spawn([](Session& in, std::optional<Error>& out) -> Async<void> {
    try {
      co_await in.call(hang);
    } catch (const Error& thrown) {
      out = thrown;
    }
  }(session, error));
  co_await settle(clock);
  clock.advance(Seconds(4));
  co_await settle(clock);
  EXPECT_FALSE(error);
  clock.advance(Seconds(1));
  co_await group.join();
  EXPECT_EQ(error->code(), ErrorCode::call_timeout);
  EXPECT_EQ(error->message(), "node \"hang\" was stopped: the flow session's time-out of 5 s passed");
}

// Case 73. The original's time-out held for the first call only, and stopped nothing.
TEST_F(FlowSession, TimesOutEachCallAndStopsWhatRuns) {
  Session session(one_thread, clock, {.timeout = Seconds(5)});
  loop.run([](Session& in, ManualClock& with) -> Async<void> {
    co_await expect_timeout(in, with);
    co_await expect_timeout(in, with);
  }(session, clock));
  const SessionInfo info = session.info();
  EXPECT_EQ(info.running, 0U);
  EXPECT_EQ(info.graph.call(0).status(), CallStatus::failed);
  EXPECT_EQ(info.graph.call(1).status(), CallStatus::failed);
}

TEST_F(FlowSession, TakesATimeOutLongerThanAnyClockForAVeryLongOne) {
  Session session(one_thread, {.timeout = Milliseconds::max()});
  EXPECT_EQ(session.call_sync(twice, 2), 4);
}

TEST_F(FlowSession, KeepsATimeOutOfTheNodesOwnApart) {
  Session session(one_thread);
  const auto own = node("own", []() -> int { throw Error(ErrorCode::call_timeout, "the printer is slow"); });
  EXPECT_THAT(error_of([&] { session.call_sync(own); }), Pair(ErrorCode::call_timeout, "the printer is slow"));
}

TEST_F(FlowSession, AnswersWhenANodeIgnoresThatItShouldStop) {
  Event door;
  const auto stubborn = node("stubborn", [&door]() -> Async<void> {
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
    co_await door.wait();
  });
  Session session(one_thread, clock, {.timeout = Seconds(5)});
  const auto main = [](Session& in, ManualClock& with, Node<void> called, Event& open) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    bool late = false;
    group.spawn([](Session& s, Node<void> n, bool& out) -> Async<void> {
      try {
        co_await s.call(std::move(n));
      } catch (const Error& error) {
        out = error.code() == ErrorCode::call_timeout;
      }
    }(in, std::move(called), late));
    co_await settle(with);
    with.advance(Seconds(5));
    co_await settle(with);
    with.advance(in.config().grace);
    co_await group.join();
    EXPECT_TRUE(late);
    EXPECT_EQ(in.info().running, 1U);
    open.notify_all();
    co_await settle(with);
    EXPECT_EQ(in.info().running, 0U);
  };
  loop.run(main(session, clock, stubborn, door));
}

TEST_F(FlowSession, EndsTheRunAtTheFirstErrorAndSaysWhoseItWas) {
  const auto catches = node("catches", [](Scope& scope, int n) -> Async<int> {
    std::exception_ptr error;
    try {
      co_await scope.call(boom, n);
    } catch (const std::out_of_range&) {
      error = std::current_exception();
    }
    co_return co_await scope.call(twice, n);
  });
  Session strict(one_thread, {.end_on_error = true}), lenient(one_thread);
  EXPECT_EQ(lenient.call_sync(catches, 1), 2);
  for (int call = 0; call < 2; ++call) {  // the original's flag held for the first call only
    EXPECT_THAT(error_of([&] { strict.call_sync(catches, 1); }),
                Pair(ErrorCode::app_error, "the run ended with an error in node \"boom\" (catches > boom): no 1"));
  }
}

TEST_F(FlowSession, EndsTheRunAtAFatalErrorEvenIfItIsCaught) {
  const auto fatal = node("fatal", [] { throw Fatal("the disk burns"); });
  const auto catches = node("catches", [fatal](Scope& scope) -> Async<void> {
    try {
      co_await scope.call(fatal);
    } catch (const Fatal&) {
      // The run must end all the same.
    }
  });
  Session session(one_thread);
  EXPECT_THAT(error_of([&] { session.call_sync(catches); }),
              Pair(ErrorCode::app_error, HasSubstr("\"fatal\" (catches > fatal): the disk burns")));
}

// A sibling that had been told to stop.
TEST_F(FlowSession, EndsTheRunAtAFatalErrorOfACallThatWasToStop) {
  const auto step = node("step", [](int n) -> Async<int> {
    if (n == 1) throw std::domain_error("one");
    try {
      co_await wait_for_ever();
    } catch (const boost::system::system_error&) {
      // It was told to stop.
    }
    throw Fatal("the disk burns");
  });
  const auto catches = node("catches", [step](Scope& scope) -> Async<void> {
    try {
      co_await scope.call_all(step, {0, 1});
    } catch (const std::domain_error&) {
      // The run must end all the same.
    }
  });
  Session session(one_thread);
  EXPECT_THAT(error_of([&] { session.call_sync(catches); }),
              Pair(ErrorCode::app_error, HasSubstr("\"step\" (catches > step): the disk burns")));
}

TEST_F(FlowSession, RefusesCallsWhenItIsClosed) {
  Session session(one_thread, {.run_identifier = "done"});
  loop.run(session.close());
  loop.run(session.close());
  EXPECT_THAT(error_of([&] { session.call_sync(twice, 1); }),
              Pair(ErrorCode::session_ended, "node \"twice\" was called in the flow session done, which is closed"));
  EXPECT_TRUE(session.info().closed);
}

TEST_F(FlowSession, StopsWhatRunsWhenItIsClosed) {
  Session session(one_thread, clock, {});
  loop.run([](Session& in, ManualClock& with) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    std::optional<ErrorCode> code;
    group.spawn([](Session& s, std::optional<ErrorCode>& out) -> Async<void> {
      try {
        co_await s.call(hang);
      } catch (const Error& error) {
        out = error.code();
      }
    }(in, code));
    co_await settle(with);
    co_await in.close();
    EXPECT_EQ(in.info().running, 0U);
    co_await group.join();
    EXPECT_EQ(code, ErrorCode::cancelled);
  }(session, clock));
}

TEST(FlowSessionOnAPool, StopsWhatRunsWhenItIsDestroyed) {
  ThreadPool pool(2);
  std::latch begun(1);
  const auto wait = node("wait", [&begun]() -> Async<void> {
    begun.count_down();
    co_await wait_for_ever();
  });
  std::optional<ErrorCode> code;
  auto session = std::make_unique<Session>(pool);
  std::jthread caller([&] {
    try {
      session->call_sync(wait);
    } catch (const Error& error) {
      code = error.code();
    }
  });
  begun.wait();
  const auto info = session->info();
  EXPECT_EQ(info.running, 1U);
  Loop loop;
  loop.run(session->close());
  caller.join();
  session.reset();
  EXPECT_EQ(code, ErrorCode::cancelled);
}

TEST_F(FlowSession, StopsItsRunWhenTheCallerIsCancelled) {
  Session session(one_thread, clock, {});
  loop.run([](Session& in, ManualClock& with) -> Async<void> {
    TaskGroup group(co_await boost::asio::this_coro::executor);
    group.spawn([](Session& s) -> Async<void> { EXPECT_THROW(co_await s.call(hang), Error); }(in));
    co_await settle(with);
    EXPECT_EQ(in.info().running, 1U);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(in.info().running, 0U);
    EXPECT_EQ(in.info().graph.call(0).status(), CallStatus::failed);
  }(session, clock));
}

TEST(FlowSessionOnAPool, LeavesANodeAloneThatNeverReturns) {
  std::latch door(1), begun(1);
  ThreadPool pool(1);
  {
    Session session(pool, {.timeout = Seconds(3'600), .grace = Milliseconds(20)});
    const auto stuck = node("stuck", [&](int) {
      begun.count_down();
      door.wait();
    });
    std::jthread caller([&] {
      try {
        session.call_sync(stuck, 1);
        ADD_FAILURE() << "it never ends by itself";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::cancelled);
      }
    });
    begun.wait();
    session.cancel();
    caller.join();
    EXPECT_EQ(session.info().running, 1U);
    EXPECT_EQ(session.info().graph.call(0).status(), CallStatus::open);
  }
  door.count_down();  // it ends after its session
}

TEST(FlowSessionOnAPool, RefusesToBlockInsideANode) {
  ThreadPool pool(1);
  Session session(pool);
  const auto blocks = node("blocks", [&session] { return session.call_sync(twice, 1); });
  try {
    session.call_sync(blocks);
    FAIL() << "it would wait for itself";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_THAT(error.message(), HasSubstr("co_await"));
  }
}

// Case 15.
TEST(FlowSessionOnAPool, KeepsSessionsApart) {
  ThreadPool pool;
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 5; ++i) sessions.push_back(std::make_unique<Session>(pool, Settings{.context = {{"n", i}}}));
  const auto mine = node("mine", [](Scope& scope) { return scope.context().get("n").as_int64(); });
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 5; ++i) {
      callers.emplace_back([&, i] { EXPECT_EQ(sessions[static_cast<std::size_t>(i)]->call_sync(mine), i); });
    }
  }
  for (const auto& session : sessions) EXPECT_EQ(session->info().graph.calls().size(), 1U);
}

// Cases 5, 21, 43 and 84. The original lost what was broadcast just before the end.
TEST_F(FlowSession, BringsBroadcastsToItsCallbackCompleteAndInOrder) {
  const auto tells = node("tells", [](Scope& scope) {
    for (int n = 0; n < 200; ++n) scope.broadcast(n);
  });
  std::vector<Json> items;
  {
    Session session(one_thread, {.broadcast_callback = [&items](const Json& item) { items.push_back(item); }});
    session.broadcast("before any call");
    session.call_sync(tells);
    EXPECT_EQ(session.publisher().subscribers().front().name, "broadcast");
  }
  ASSERT_EQ(items.size(), 201U);
  EXPECT_EQ(items.front(), Json("before any call"));
  for (int n = 0; n < 200; ++n) EXPECT_EQ(items[static_cast<std::size_t>(n) + 1], Json(n));
}

TEST_F(FlowSession, AwaitsABroadcastCallbackThatIsACoroutineAndOutlivesOneThatThrows) {
  std::vector<Json> items;
  {
    Session session(one_thread, {.broadcast_callback = [&items](Json item) -> Async<void> {
                      SystemClock now;
                      co_await sleep_until(now, now.instant());
                      items.push_back(item);
                      if (item == Json(1)) throw std::runtime_error("one");
                    }});
    session.broadcast(1);
    session.broadcast(2);
  }
  EXPECT_THAT(items, ElementsAre(Json(1), Json(2)));
}

TEST_F(FlowSession, TellsItsSubscribersOfEveryCall) {
  Session session(one_thread);
  std::vector<std::string> heard;
  const auto name_of = [](const Message& message) -> std::string {
    if (const auto* creation = std::get_if<RequestCreation>(&message.body)) return "creation " + creation->node->name;
    if (const auto* success = std::get_if<RequestSuccess>(&message.body)) return "success " + *success->output;
    if (const auto* failure = std::get_if<RequestFailure>(&message.body))
      return "failure " + failure->failure.message;
    return std::holds_alternative<FatalFailure>(message.body) ? "fatal" : "other";
  };
  session.publisher().subscribe("test",
                                MessageHandler([&](const Message& message) { heard.push_back(name_of(message)); }));
  session.call_sync(twice, 4);
  EXPECT_THROW(session.call_sync(boom, 1), std::out_of_range);
  EXPECT_THROW(session.call_sync(node("fatal", [] { throw Fatal("end"); })), Error);
  loop.run(session.close());
  EXPECT_THAT(heard, ElementsAre("creation twice", "success 8", "creation boom", "failure no 1", "creation fatal",
                                 "failure end", "fatal"));
}

// A value whose conversion to JSON fails.
struct Shy {
  int n = 0;
};
void tag_invoke(const boost::json::value_from_tag&, boost::json::value&, const Shy&) {
  throw std::domain_error("it is shy");
}
[[maybe_unused]] Shy tag_invoke(const boost::json::value_to_tag<Shy>&, const boost::json::value&) {
  return {};
}

TEST_F(FlowSession, MakesACallWhoseValuesCannotBeRecorded) {
  Session session(one_thread);
  const auto grow = node("grow", [](Shy shy) { return Shy{shy.n + 1}; });
  EXPECT_EQ(session.call_sync(grow, Shy{1}).n, 2);
  const CallRecord call = session.info().graph.call(0);
  EXPECT_EQ(*call.input, R"({"not_recorded":"it is shy"})");
  EXPECT_EQ(*call.output, R"({"not_recorded":"it is shy"})");
  EXPECT_EQ(call.status(), CallStatus::completed);
}

TEST_F(FlowSession, HasItsGraphAsItWasAtEachStep) {
  Session session(one_thread);
  session.call_sync(twice, 1);
  session.call_sync(twice, 2);
  EXPECT_TRUE(session.graph_at(0).empty());
  EXPECT_EQ(session.graph_at(1).call(0).status(), CallStatus::open);
  EXPECT_EQ(session.graph_at(3).calls().size(), 2U);
  EXPECT_EQ(session.graph_at(3).call(0).status(), CallStatus::completed);
  EXPECT_EQ(session.graph_at(3).call(1).status(), CallStatus::open);
}

// Case 11.
TEST_F(FlowSession, HandsItsPayloadOverOnceWhenItIsClosed) {
  std::vector<std::string> payloads;
  const PayloadCallback keep = [&payloads](const std::string& payload) { payloads.push_back(payload); };
  {
    Session session(one_thread, {.payload_callback = keep, .name = "empty"});
  }
  ASSERT_EQ(payloads.size(), 1U);
  EXPECT_EQ(parse_json(payloads[0]).at("runs"), Json(JsonArray()));
  EXPECT_EQ(parse_json(payloads[0]).at("session_name"), Json("empty"));

  Session session(one_thread, {.payload_callback = keep});
  EXPECT_THROW(session.call_sync(boom, 1), std::out_of_range);
  loop.run(session.close());
  loop.run(session.close());
  ASSERT_EQ(payloads.size(), 2U);
  EXPECT_EQ(parse_json(payloads[1]).at("runs").at(0).at("status"), Json("Failed"));
  EXPECT_EQ(parse_json(session.payload()).at("runs"), parse_json(payloads[1]).at("runs"));
}

TEST_F(FlowSession, EndsAsEverWhenItsPayloadCallbackThrows) {
  Session session(one_thread, {.payload_callback = [](const std::string&) { throw std::runtime_error("no"); }});
  loop.run(session.close());
  EXPECT_TRUE(session.info().closed);
}

bool is_closed(Publisher& publisher) {
  try {
    publisher.unsubscribe(publisher.subscribe("probe", MessageHandler([](const Message&) {})));
    return false;
  } catch (const Error&) {
    return true;
  }
}

// What it waits for may need the loop itself.
TEST_F(FlowSession, LeavesItsLoopFreeWhileItIsClosed) {
  std::latch turned(1);
  bool heard = false;
  Session* closing = nullptr;
  Session session(one_thread, {.broadcast_callback =
                                   [&](const Json&) {
                                     while (!is_closed(closing->publisher())) std::this_thread::yield();
                                     boost::asio::post(loop.executor(), [&turned] { turned.count_down(); });
                                     turned.wait();
                                     heard = true;
                                   },
                               .grace = Seconds(60)});
  closing = &session;
  session.broadcast("knock");
  loop.run(session.close());
  EXPECT_TRUE(heard);
}

TEST_F(FlowSession, LeavesItsCallerCancellableWhenItIsClosed) {
  Session session(one_thread, {.payload_callback = [](const std::string&) {}});
  const auto use = [](Session& closed) -> Async<void> {
    co_await closed.close();
    EXPECT_TRUE(co_await boost::asio::this_coro::throw_if_cancelled());
  };
  loop.run(use(session));
}

// Case 31 and the defect that the end of an inner session ended the outer one's.
TEST_F(FlowSession, InnerSessionGivesWayToTheOuterOne) {
  EXPECT_EQ(Session::current(), nullptr);
  Session outer(one_thread, {.context = {{"who", "outer"}}});
  {
    Session inner(one_thread, {.context = {{"who", "inner"}}});
    EXPECT_EQ(Session::current(), &inner);
    EXPECT_EQ(call_sync(twice, 1), 2);
    EXPECT_EQ(inner.info().graph.calls().size(), 1U);
    loop.run(inner.close());
    EXPECT_EQ(Session::current(), &outer);
  }
  EXPECT_EQ(call_sync(twice, 2), 4);
  EXPECT_EQ(outer.info().graph.calls().size(), 1U);
  EXPECT_EQ(outer.context().get("who"), Json("outer"));
}

// Case 71.
TEST(FlowSessionOnAPool, CallWithoutASessionHasOneOfItsOwn) {
  EXPECT_EQ(call_sync(twice, 4), 8);
  EXPECT_EQ(Session::current(), nullptr);
}

TEST(FlowSessionOnAPool, IsNobodysCurrentOneOnceAnotherThreadClosedIt) {
  ThreadPool pool(1);
  auto session = std::make_unique<Session>(pool);
  EXPECT_EQ(Session::current(), session.get());
  std::jthread([&] {
    EXPECT_EQ(Session::current(), nullptr);
    session.reset();
  }).join();
  EXPECT_EQ(Session::current(), nullptr);
}

TEST_F(FlowSession, LogsByItsSettingAndIntoItsFile) {
  const auto file = std::filesystem::path(testing::TempDir()) / ("flow-log-" + std::to_string(::getpid()));
  const auto talks = node("talks", [](Scope& scope) {
    scope.log(LogLevel::debug, "small");
    scope.log(LogLevel::warning, "large", {{"n", 1}});
  });
  const auto printed = [&](LoggingSetting setting) {
    testing::internal::CaptureStderr();
    Session(one_thread, {.logging_setting = setting, .log_file = file}).call_sync(talks);
    const std::string text = testing::internal::GetCapturedStderr();
    return std::pair(std::ranges::count(text, '\n'), text);
  };
  EXPECT_EQ(printed(LoggingSetting::verbose).first, 4);
  const auto [lines, text] = printed(LoggingSetting::regular);
  EXPECT_EQ(lines, 3);
  EXPECT_THAT(text, HasSubstr("info    START CREATED talks\n"));
  EXPECT_THAT(text, HasSubstr("warning large {\"n\":1}\n"));
  EXPECT_THAT(text, HasSubstr("info    talks DONE\n"));
  EXPECT_EQ(printed(LoggingSetting::quiet).first, 1);
  EXPECT_EQ(printed(LoggingSetting::none).first, 0);
  std::ifstream written(file);
  EXPECT_EQ(std::count(std::istreambuf_iterator<char>(written), {}, '\n'), 12);
  std::filesystem::remove(file);
}

TEST_F(FlowSession, RefusesALogFileThatCannotBeWritten) {
  EXPECT_THAT(error_of([&] { Session(one_thread, {.log_file = "/nowhere/flow.log"}); }),
              Pair(ErrorCode::io_error, HasSubstr("/nowhere/flow.log")));
}

// Each held the other: what waits in a node its job, and the job what waits.
TEST(FlowSessionAlone, LeavesNothingOfARunBehindWhoseLoopIsGone) {
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> seen = held;
  {
    Loop loop;
    OneThread one_thread(loop);
    ManualClock clock;
    const auto waits = node("waits", [held](int) { return wait_for_ever(); });
    const auto both =
        node("both", [waits](Scope& scope) -> Async<void> { co_await scope.call_batch(waits, {1, 2}); });
    held.reset();
    Session session(one_thread, clock, {});
    loop.run([](Session& in, Executor lane, Node<void> called, ManualClock& with) -> Async<void> {
      Job::create(std::move(lane), nullptr)->start(in.call(std::move(called)), [](const std::exception_ptr&) {});
      co_await settle(with);
    }(session, loop.executor(), both, clock));
    EXPECT_EQ(session.info().running, 1U);
    EXPECT_FALSE(seen.expired());
  }
  EXPECT_TRUE(seen.expired());
}

}  // namespace
}  // namespace sojourn::flow
