#include "sojourn/client/client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "sojourn/base/error_of_test.hpp"
#include "sojourn/base/task_group.hpp"
#include "tests/client/real_server.hpp"

namespace sojourn::client {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr auto probe = "tests/probe";

class RealClient : public testing::Test {
 protected:
  RealServer server_;
  Client client_{server_.url()};
};

TEST_F(RealClient, RunsCallsInSessionsThatItMakesAndEnds) {
  std::string id;
  {
    Session session = client_.session({.app = probe, .session_timeout = Seconds(60), .labels = {{"env", "test"}}});
    id = session.id();
    EXPECT_EQ(session.call(JsonObject{{"a", 1}}).output(), (Json(JsonObject{{"a", 1}})));
    session.call(JsonObject{{"n", 7}}, "set");
    EXPECT_EQ(session.state(), (JsonObject{{"n", 7}}));
    session.set_state("n", 8);
    EXPECT_EQ(session.get_state("n"), Json(8));
    session.delete_state("n");
    EXPECT_EQ(session.get_state("n"), std::nullopt);
    EXPECT_EQ(session.keepalive().at("idle_timeout"), Json(60));
    EXPECT_EQ(client_.sessions({.status = "active", .labels = {{"env", "test"}}}).sessions.size(), 1U);
    EXPECT_EQ(session.events().at(0).at("event").at("type"), Json("session.created"));
  }
  Session over = client_.attach(id);
  EXPECT_EQ(over.info().at("status"), Json("ended"));
  const Error gone = error_of([&] { over.call(); });
  EXPECT_EQ(gone.code(), ErrorCode::session_ended);
  EXPECT_TRUE(is_session_gone(gone));
}

TEST_F(RealClient, RunsACallWithoutASessionOfTheCallers) {
  const Task task = client_.run({.app = probe, .function = "echo", .input = "hello"});
  EXPECT_EQ(task.output(), Json("hello"));
  EXPECT_TRUE(task.is_completed());
  EXPECT_EQ(client_.apps().size(), 2U);
}

TEST_F(RealClient, ThrowsWhatTheAppRefusedOrRaised) {
  Session session = client_.session({.app = probe});
  try {
    session.call("this", "refuse");
    FAIL();
  } catch (const CallFailed& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_request);
    EXPECT_EQ(error.details().at("given"), Json("this"));
    EXPECT_EQ(error.task().session_id(), session.id());
  }
  const Error raised = error_of([&] { session.call("it", "fail"); });
  EXPECT_EQ(raised.code(), ErrorCode::app_error);
  EXPECT_THAT(to_text(raised.details()), HasSubstr("ValueError"));
  const Error refused = error_of([&] { session.call(nullptr, "no such function"); });
  EXPECT_EQ(refused.code(), ErrorCode::function_not_found);
  EXPECT_EQ(dynamic_cast<const CallFailed*>(&refused), nullptr);
  EXPECT_EQ(session.call(1).output(), Json(1));
}

TEST_F(RealClient, FollowsACallAndCancelsIt) {
  Session session = client_.session({.app = probe});
  TaskStream stream = session.stream(nullptr, "wait_for_cancel");
  while (stream.task().output().is_null()) ASSERT_TRUE(stream.next());
  EXPECT_EQ(stream.task().status(), "running");
  client_.cancel(stream.task().id());
  EXPECT_EQ(error_of([&] { stream.result(); }).code(), ErrorCode::cancelled);
  EXPECT_EQ(client_.task(stream.task().id()).status(), "cancelled");
  EXPECT_EQ(client_.cancel(stream.task().id()).status(), "cancelled");
}

TEST_F(RealClient, ReadsWhatACallSaid) {
  const Task task = client_.run({.app = probe, .function = "say", .session = "new"});
  const JsonArray lines = client_.logs(task.id());
  const auto own = std::ranges::find(lines, Json("to the log"), [](const Json& line) { return line.at("content"); });
  ASSERT_NE(own, lines.end());
  EXPECT_EQ(own->at("fields"), (Json(JsonObject{{"number", 7}})));
  EXPECT_EQ(client_.logs(task.id(), 1'000).size(), 0U);
}

TEST_F(RealClient, GetsTheSameTaskForTheSameKey) {
  Session session = client_.session({.app = probe});
  const CallOptions key{.idempotency_key = "once"};
  const Task first = session.call(1, "echo", key);
  EXPECT_EQ(session.call(1, "echo", key).id(), first.id());
  EXPECT_EQ(Client(server_.url()).attach(session.id()).call(1, "echo", key).id(), first.id());
  EXPECT_EQ(error_of([&] { session.call(2, "echo", key); }).code(), ErrorCode::idempotency_mismatch);
}

TEST_F(RealClient, ServesManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] {
      Session session = client_.session({.app = probe});
      for (int n = 0; n < 5; ++n) EXPECT_EQ(session.call(10 * i + n).output(), Json(10 * i + n));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client_.sessions({.status = "active"}).sessions.size(), 0U);
}

TEST_F(RealClient, ReadsATaskAgainFromAServerThatComesBack) {
  const Task done = client_.run({.app = probe, .input = "kept"});
  Options patient;
  patient.url = server_.url();
  patient.retries = 1'000;
  server_.kill();
  std::thread back([this] { server_.start(); });
  EXPECT_EQ(Client(patient).wait(done.id()).output(), Json("kept"));  // by asking until somebody listens there again
  back.join();
}

TEST_F(RealClient, CarriesFilesThereAndBack) {
  const auto path = server_.folder() / "cat.txt";
  std::ofstream(path) << "meow";
  const std::string uri = client_.upload_file(path, "text/plain");
  const Task task = client_.run({.app = probe, .input = JsonObject{{"cat", uri}}});
  EXPECT_EQ(task.output().at("cat").at("filename"), Json("cat.txt"));
  EXPECT_EQ(task.output().at("cat").at("size"), Json(4));
  EXPECT_EQ(client_.download(uri), "meow");
  client_.download_file(uri, server_.folder() / "again.txt");
  std::ifstream again(server_.folder() / "again.txt");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(again), {}), "meow");
  EXPECT_EQ(client_.download(client_.upload({.bytes = ""})), "");
  EXPECT_EQ(error_of([&] { client_.download("/files/file_00000000000000000000000000000000"); }).code(),
            ErrorCode::not_found);
}

// The awaited face.
Async<void> echo(AsyncSession session, int number, std::vector<Json>& outputs) {
  outputs.push_back((co_await session.call(number)).output());
}

Async<void> call_side_by_side(AsyncClient& client, std::vector<Json>& outputs) {
  TaskGroup group(co_await boost::asio::this_coro::executor);
  const AsyncSession one = co_await client.session({.app = probe});
  const AsyncSession two = co_await client.session({.app = probe});
  group.spawn(echo(one, 1, outputs));
  group.spawn(echo(two, 2, outputs));
  group.spawn(echo(one, 3, outputs));
  co_await group.join();
  co_await AsyncSession(one).end();
  co_await AsyncSession(two).end();
}

TEST(RealAsyncClient, AwaitsCallsSideBySide) {
  RealServer server;
  Loop loop;
  SystemClock clock;
  Options options;
  options.url = server.url();
  AsyncClient client(loop.executor(), clock, options);
  std::vector<Json> outputs;
  loop.run(call_side_by_side(client, outputs));
  EXPECT_THAT(outputs, UnorderedElementsAre(Json(1), Json(2), Json(3)));
}

// Waits for `waiting`'s call to be queued, then has it stopped.
Async<void> stop_when_queued(AsyncSession session, TaskGroup& waiting) {
  for (bool queued = false; !queued;) {
    const JsonObject info = co_await session.info();
    queued = info.at("queued") != Json(0);
  }
  waiting.cancel();
}

Async<void> stop_waiting(AsyncClient& client, std::vector<Json>& outputs) {
  AsyncSession session = co_await client.session({.app = probe});
  AsyncTaskStream stream = co_await session.stream(nullptr, "wait_for_cancel");
  TaskGroup waiting(co_await boost::asio::this_coro::executor);
  waiting.spawn(echo(session, 7, outputs));
  co_await stop_when_queued(session, waiting);
  co_await waiting.join();
  const JsonObject info = co_await session.info();
  outputs.push_back(info.at("queued"));
  co_await session.end();
}

TEST(RealAsyncClient, StopsWaitingWhenItsCoroutineIsCancelledAndTheCallGoesOn) {
  RealServer server;
  Loop loop;
  SystemClock clock;
  Options options;
  options.url = server.url();
  AsyncClient client(loop.executor(), clock, options);
  std::vector<Json> outputs;
  loop.run(stop_waiting(client, outputs));
  EXPECT_THAT(outputs, testing::ElementsAre(Json(1)));  // no output, and one call that still waits
}

}  // namespace
}  // namespace sojourn::client
