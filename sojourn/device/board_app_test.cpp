#include "sojourn/device/board_app.hpp"

#include <gmock/gmock.h>

#include "sojourn/device/board_bench_test.hpp"
#include "sojourn/session/session.hpp"

namespace sojourn::device {

namespace {

using testing::HasSubstr;

// One call, as the runtime would make it.
class Scope final : public session::CallScope {
 public:
  Scope(std::string function, Json input, Instant deadline) {
    request_.function = std::move(function);
    request_.input = std::move(input);
    request_.deadline = deadline;
  }
  const session::CallRequest& request() const override { return request_; }
  session::Session& session() override { return session_; }
  void emit(Json output) override { emitted.push_back(std::move(output)); }
  void emit_delta(Json) override {}
  void log(LogLevel, std::string_view, JsonObject) override {}
  void record(std::string, JsonObject) override {}
  Async<void> checkpoint() override { co_return; }
  void end_session() override {}
  Async<Json> call_app(std::string, std::string, Json) override { co_return nullptr; }
  bool cancel_requested() const override { return false; }
  Async<void> cancel_wait() override { co_return; }

  std::vector<Json> emitted;

 private:
  session::Session session_{"test"};
  session::CallRequest request_;
};

class BoardAppTest : public BoardBench {
 public:
  void with_app(Kind kind, Async<void> (*body)(BoardAppTest&, session::App&)) {
    require(kind);
    if (IsSkipped()) return;
    apps = board_apps({{"lamp", parse_address(kind.address)}}, clock, random);
    loop.run(body(*this, *apps.front()));
  }
  Async<Json> call(session::Worker& worker, std::string function, Json input) {
    Scope scope(std::move(function), std::move(input), soon());
    Json output = co_await worker.call(scope);
    emitted = scope.emitted;
    co_return output;
  }
  Async<void> close(session::Worker& worker) { co_await worker.close(session::CloseReason::ended, soon()); }

  static Async<void> kill_soon(BoardAppTest& test, session::Worker& worker) {
    co_await sleep_until(test.clock, test.in(Milliseconds(100)));
    worker.kill(Error(ErrorCode::call_timeout, "late"));
  }

  std::vector<std::shared_ptr<session::App>> apps;
  std::vector<Json> emitted;
};

TEST_F(BoardAppTest, ServesASessionOnABoard) {
  with_app(microbit(), [](BoardAppTest& test, session::App& app) -> Async<void> {
    EXPECT_EQ(app.info().name, "board");
    const auto worker = co_await app.open({}, test.soon());
    EXPECT_EQ(co_await test.call(*worker, "exec", {{"code", "x = 6\nprint('hi')"}}), Json({{"output", "hi\n"}}));
    std::string printed;
    for (const Json& piece : test.emitted) printed += piece.at("printed").as_string();
    EXPECT_EQ(printed, "hi\n");
    EXPECT_EQ(co_await test.call(*worker, "eval", {{"expression", "x * 7"}}), Json({{"value", 42}}));
    co_await test.call(*worker, "deploy", {{"name", "add"}, {"source", "def add(a, b):\n  return a + b"}});
    const Json sum{{"name", "add"}, {"arguments", JsonArray{JsonArray{1}, JsonArray{"x"}}}};
    EXPECT_EQ(co_await test.call(*worker, "call", sum), Json({{"value", JsonArray{1, "x"}}}));
    EXPECT_EQ(co_await test.call(*worker, "put", {{"path", "a.txt"}, {"text", "abc"}}), Json({{"bytes", 3}}));
    EXPECT_EQ((co_await test.call(*worker, "get", {{"path", "a.txt"}})).at("text"), Json("abc"));
    EXPECT_EQ((co_await test.call(*worker, "list", nullptr)).at("files").at(0).at("name"), Json("a.txt"));
    const Json tree{{"files", JsonObject{{"a.txt", "abc"}, {"b.bin", JsonObject{{"base64", "AAE="}}}}}};
    EXPECT_EQ(co_await test.call(*worker, "sync", tree),
              (Json{{"sent", JsonArray{"b.bin"}}, {"removed", JsonArray{}}, {"kept", 1}}));
    EXPECT_EQ(test.emitted.back(), (Json{{"sending", "b.bin"}, {"done", 0}, {"total", 2}}));
    co_await test.call(*worker, "remove", {{"path", "a.txt"}});
    EXPECT_EQ((co_await test.call(*worker, "info", nullptr)).at("name"), Json("lamp"));
    EXPECT_EQ(worker->describe().at("state"), Json("connected"));
    co_await test.close(*worker);
  });
}

TEST_F(BoardAppTest, RemembersWhatABoardCanDoForTheNextSession) {
  BoardPool pool(clock, {{"lamp", parse_address("tcp:localhost:1")}});
  struct Body {
    static Async<void> run(BoardPool& boards, Instant deadline) {
      {
        auto lease = co_await boards.lease({}, deadline);
        EXPECT_EQ(lease.board().known, std::nullopt);
        lease.remember(fallback_capabilities());
      }
      const auto lease = co_await boards.lease({}, deadline);
      EXPECT_EQ(lease.board().known, fallback_capabilities());
    }
  };
  loop.run(Body::run(pool, soon()));
}

TEST_F(BoardAppTest, RunsThreadsUntilTheyAreStoppedOrTheSessionEnds) {
  with_app(stand_in_with_threads(), [](BoardAppTest& test, session::App& app) -> Async<void> {
    const auto worker = co_await app.open({}, test.soon());
    const char* const source = "n = 0\ndef blink(beat, by):\n  global n\n  while beat(): n += by\n  n = -1";
    const Json input{{"name", "blink"}, {"source", source}, {"arguments", JsonArray{2}}, {"restart_after_ms", 5}};
    EXPECT_EQ(co_await test.call(*worker, "thread_start", input), (Json{{"thread", "blink-1"}}));
    const Json threads = (co_await test.call(*worker, "threads", nullptr)).at("threads");
    EXPECT_EQ(threads.at(0).at("id"), Json("blink-1"));
    EXPECT_EQ(threads.at(0).at("state"), Json("running"));
    const Json stopped = co_await test.call(*worker, "thread_stop", {{"thread", "blink-1"}});
    EXPECT_EQ(stopped, (Json{{"stopped", "blink-1"}}));
    EXPECT_EQ(co_await test.call(*worker, "eval", {{"expression", "n"}}), (Json{{"value", -1}}));
    const Json broken{{"name", "broken"}, {"source", "def broken():\n  1/0"}, {"period_ms", 5}};
    co_await test.call(*worker, "thread_start", broken);
    Json failed;
    do {
      failed = (co_await test.call(*worker, "threads", nullptr)).at("threads").at(0);
    } while (failed.at("state") == Json("running"));
    EXPECT_EQ(failed.at("error"), Json("ZeroDivisionError: division by zero (broken:2, in broken)"));
    const Json odd{{"name", "blink"}, {"period_ms", "often"}};
    EXPECT_EQ((co_await error_of(test.call(*worker, "thread_start", odd))).code(), ErrorCode::invalid_request);
    co_await test.call(*worker, "reset", nullptr);
    EXPECT_EQ(co_await test.call(*worker, "threads", nullptr), (Json{{"threads", JsonArray{}}}));
    co_await test.close(*worker);
  });
}

TEST_F(BoardAppTest, SaysWhatACallLacks) {
  with_app(microbit(), [](BoardAppTest& test, session::App& app) -> Async<void> {
    const auto worker = co_await app.open({}, test.soon());
    EXPECT_EQ((co_await error_of(test.call(*worker, "fly", nullptr))).code(), ErrorCode::function_not_found);
    EXPECT_THAT((co_await error_of(test.call(*worker, "exec", nullptr))).message(), HasSubstr("\"code\""));
    EXPECT_EQ((co_await error_of(test.call(*worker, "call", {{"name", "f"}}))).code(), ErrorCode::invalid_request);
    EXPECT_EQ((co_await error_of(test.call(*worker, "exec", {{"code", "1/0"}}))).code(), ErrorCode::app_error);
    co_await test.close(*worker);
  });
}

TEST_F(BoardAppTest, EndsARunningCallWhenItIsKilled) {
  with_app(webassembly(), [](BoardAppTest& test, session::App& app) -> Async<void> {
    const auto worker = co_await app.open({}, test.soon());
    TaskGroup group(test.loop.executor());
    group.spawn(kill_soon(test, *worker));
    const Error error = co_await error_of(test.call(*worker, "exec", {{"code", "while True: pass"}}));
    EXPECT_EQ(error.message(), "late");
    co_await group.join();
    co_await test.close(*worker);
  });
}

TEST_F(BoardAppTest, SaysThatABoardDoesNotAnswer) {
  with_app({"none", "unix:/nowhere/board.sock", "/", ""}, [](BoardAppTest& test, session::App& app) -> Async<void> {
    const Error error = co_await error_of(app.open({}, test.in(Seconds(1))));
    EXPECT_EQ(error.code(), ErrorCode::worker_start_failed);
    EXPECT_THAT(error.message(), HasSubstr("board lamp: "));
    EXPECT_EQ(app.describe().at("boards").at(0).at("leased"), Json(false));
  });
}

TEST(ParseBoards, ReadsNamesAndAddresses) {
  const auto boards = parse_boards("lamp=serial:/dev/ttyACM0; pump = tcp:10.0.0.5:23 ;");
  ASSERT_EQ(boards.size(), 2u);
  EXPECT_EQ(boards[1].name, "pump");
  EXPECT_EQ(boards[1].address, Address(TcpAddress{"10.0.0.5", 23}));
  EXPECT_TRUE(parse_boards("").empty());
  for (const char* text : {"lamp", "=tcp:a:1", "A=tcp:a:1", "board=tcp:a:1", "a=tcp:a:1;a=tcp:a:2", "a=nonsense"}) {
    EXPECT_THROW(parse_boards(text), Error) << text;
  }
}

class BoardPoolTest : public testing::Test {
 public:
  static Async<void> take(BoardPoolTest& test, std::optional<std::string> name, std::string who) {
    try {
      auto lease = co_await test.pool.lease(std::move(name), test.clock.instant() + Seconds(10));
      test.order += who + ':' + lease.board().name + ' ';
      co_await test.next.wait();
    } catch (const Error& error) {
      test.order += who + ':' + std::string(info(error.code()).name) + ' ';
    }
  }
  // Lets everything run that can.
  static Async<void> settle(BoardPoolTest& test) {
    for (int i = 0; i < 20; ++i) co_await sleep_until(test.clock, test.clock.instant());
  }

  Loop loop;
  SystemClock clock;
  BoardPool pool{clock, {{"a", TcpAddress{"x", 1}}, {"b", TcpAddress{"x", 2}}}, 2};
  Event next;
  std::string order;
};

TEST_F(BoardPoolTest, LendsEachBoardToOneAndTheNextInTheirOrder) {
  struct Body {
    static Async<void> run(BoardPoolTest& test) {
      TaskGroup group(test.loop.executor());
      group.spawn(take(test, std::nullopt, "1"));
      group.spawn(take(test, "b", "2"));
      group.spawn(take(test, "b", "3"));
      group.spawn(take(test, std::nullopt, "4"));
      group.spawn(take(test, std::nullopt, "5"));
      while (test.order.find("5:") == std::string::npos) co_await settle(test);
      EXPECT_EQ(test.order, "1:a 2:b 5:worker_leased ");
      test.next.notify_all();
      while (test.order.find("4:") == std::string::npos) co_await settle(test);
      EXPECT_THAT(test.order, HasSubstr("3:b"));
      EXPECT_THAT(test.order, HasSubstr("4:a"));
      test.next.notify_all();
      co_await group.join();
      EXPECT_FALSE(test.pool.boards()[0].leased);
      EXPECT_FALSE(test.pool.boards()[1].leased);
    }
  };
  loop.run(Body::run(*this));
}

TEST_F(BoardPoolTest, GivesUpAPlaceThatIsCancelled) {
  struct Body {
    static Async<void> run(BoardPoolTest& test) {
      TaskGroup group(test.loop.executor());
      TaskGroup impatient(test.loop.executor());
      group.spawn(take(test, "a", "1"));
      impatient.spawn(take(test, "a", "2"));
      while (test.pool.waiting() == 0) co_await settle(test);
      impatient.cancel();
      co_await impatient.join();
      EXPECT_EQ(test.pool.waiting(), 0u);
      test.next.notify_all();
      co_await group.join();
      EXPECT_FALSE(test.pool.boards()[0].leased);
    }
  };
  loop.run(Body::run(*this));
}

}  // namespace

}  // namespace sojourn::device
