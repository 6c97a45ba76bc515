#include "sojourn/base/task_group.hpp"
#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using namespace std::chrono_literals;
using http::Method;
using runtime::RuntimeTest;
using testing::HasSubstr;

class TaskStreamTest : public ApiTest {};

TEST_F(TaskStreamTest, FollowsACallFromBeforeItsTime) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string run_at = format_time(test.clock.now() + 20s);
    const JsonObject task = co_await ApiTest::data(
        test, Method::post, "/apps/run", R"({"app":"app","session":"new","input":7,"run_at":")" + run_at + R"("})");
    EXPECT_EQ(task.at("status_text"), "received");
    EXPECT_EQ(task.at("run_at"), Json(run_at));
    EXPECT_EQ(task.at("seq"), 0);
    const std::string id(task.at("id").as_string());
    EXPECT_EQ(co_await ApiTest::data(test, Method::get, "/tasks/" + id), task);

    TaskGroup group(test.loop.executor());
    std::string lines;
    group.spawn(ApiTest::follow(test, "/tasks/" + id + "/stream", "application/x-ndjson", lines));
    co_await test.settle();
    co_await test.pass(15s);
    co_await test.pass(5s);
    co_await group.join();
    EXPECT_THAT(lines, testing::StartsWith("{\"id\":\"" + id + "\""));
    EXPECT_THAT(lines, HasSubstr("{\"type\":\"heartbeat\"}\n{\"data\":{\"id\""));
    EXPECT_THAT(lines, HasSubstr("\"status\":10,\"status_text\":\"completed\""));
    EXPECT_EQ((co_await ApiTest::data(test, Method::get, "/tasks/" + id)).at("output"), 7);
  });
}

TEST_F(TaskStreamTest, AStreamOfACallToComeBreaksOffWhenTheServerStops) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const JsonObject task = co_await ApiTest::data(
        test, Method::post, "/apps/run",
        R"({"app":"app","session":"new","run_at":")" + format_time(test.clock.now() + 20s) + R"("})");
    TaskGroup group(test.loop.executor());
    std::string lines;
    const std::string path = "/tasks/" + std::string(task.at("id").as_string()) + "/stream";
    group.spawn(ApiTest::follow(test, path, "application/x-ndjson", lines));
    co_await test.settle();
    co_await test.runtime->close(test.clock.instant());
    co_await group.join();
    EXPECT_THAT(lines, testing::Not(HasSubstr("\"status\":12")));
  });
}

TEST_F(TaskStreamTest, StreamsATaskFromItsSnapshotToItsEnd) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "emit");
    TaskGroup followers(test.loop.executor());
    std::string lines;
    std::string events;
    followers.spawn(ApiTest::follow(test, "/tasks/" + call->task.id + "/stream", "application/x-ndjson", lines));
    followers.spawn(ApiTest::follow(test, "/tasks/" + call->task.id + "/stream", "text/event-stream", events));
    co_await test.settle();
    co_await test.pass(15s);
    call->publish(runtime::Update::Kind::partial, R"({"progress":1.5})");
    co_await test.settle();
    call->publish(runtime::Update::Kind::delta, R"("late")");
    test.script.release.notify_all();
    co_await followers.join();

    std::vector<JsonObject> read;
    for (std::size_t at = 0; at < lines.size(); at = lines.find('\n', at) + 1) {
      read.push_back(parse_json_object(lines.substr(at, lines.find('\n', at) - at)));
    }
    EXPECT_EQ(read.size(), 6u) << lines;
    if (read.size() != 6) co_return;
    EXPECT_EQ(read[0].at("status"), 7);
    EXPECT_EQ(read[0].at("output"), (JsonObject{{"progress", 1}}));  // what a follower missed
    EXPECT_EQ(read[1].at("data").at("delta"), "abc");
    EXPECT_EQ(read[2], (JsonObject{{"type", "heartbeat"}}));
    EXPECT_EQ(read[3].at("data").at("output"), (JsonObject{{"progress", 1.5}}));
    EXPECT_EQ(read[3].at("fields"), (JsonArray{"status", "output"}));
    EXPECT_EQ(read[4].at("event"), "delta");
    EXPECT_EQ(read[4].at("data").at("delta"), "late");
    EXPECT_EQ(read[5].at("status"), 10);
    EXPECT_EQ(read[5].at("output"), (JsonObject{{"progress", 2}}));
    EXPECT_EQ(read[5].at("id"), Json(call->task.id));
    EXPECT_EQ(read[5].at("session_id"), Json(call->task.session_id));

    EXPECT_THAT(events, testing::StartsWith("data: {\"id\":"));
    EXPECT_THAT(events, testing::EndsWith("\n\n"));
    EXPECT_EQ(std::ranges::count(events, '\n'), 2 * 6);
  });
}

// A follower that takes nothing of a stream until it is let go on, or that is gone by then.
class SlowFollower final : public http::Responder {
 public:
  explicit SlowFollower(bool leaves = false) : leaves_(leaves) {}

  Async<void> send(http::Response) override { co_return; }
  Async<void> start(http::Response, std::optional<std::uint64_t>) override { co_return; }
  Async<void> write(std::string chunk) override {
    largest = std::max(largest, chunk.size());
    text += chunk;
    if (free) co_return;
    co_await go_on.wait();
    if (leaves_) throw Error(ErrorCode::connection_failed, "the client is gone");
  }
  Async<std::string> read() override { co_return ""; }
  Async<void> client_gone() override { co_return; }

  static Async<void> follow(RuntimeTest& test, std::string task, SlowFollower& follower) {
    try {
      co_await stream_task(*test.runtime, test.clock, std::move(task), StreamFormat::ndjson, {.linger = 0ms},
                           follower);
    } catch (const Error& error) {
      follower.failure = error.code();
    }
  }

  Event go_on;
  bool free = false;
  std::string text;
  std::size_t largest = 0;
  std::optional<ErrorCode> failure;

 private:
  bool leaves_;
};

TEST_F(TaskStreamTest, TellsALateFollowerTheDeltasSinceTheNewestPartialOutput) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "emit");
    const auto delta = [&](const char* text) { call->publish(runtime::Update::Kind::delta, text); };
    delta(R"("in the output")");
    call->publish(runtime::Update::Kind::partial, R"({"progress":3})");
    delta(R"("missed")");
    const std::uint64_t missed = call->last_update();
    SlowFollower late;
    late.free = true;
    TaskGroup followers(test.loop.executor());
    followers.spawn(SlowFollower::follow(test, call->task.id, late));
    co_await test.settle();
    EXPECT_THAT(late.text, HasSubstr(R"("output":{"progress":3})"));
    const std::string rest = late.text.substr(late.text.find('\n') + 1);
    EXPECT_EQ(rest, R"({"event":"delta","data":{"delta":"missed","seq":)" + std::to_string(missed) + "}}\n");
    delta(R"("new")");
    test.script.release.notify_all();
    co_await followers.join();
    EXPECT_EQ(std::ranges::count(late.text, '\n'), 4);
    EXPECT_THAT(late.text, HasSubstr(R"({"delta":"new","seq":)" + std::to_string(missed + 1)));
  });
}

TEST_F(TaskStreamTest, TellsALateFollowerOfACallWithoutPartialOutputsAllItsDeltas) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "wait");
    call->publish(runtime::Update::Kind::delta, "1");
    call->publish(runtime::Update::Kind::delta, "2");
    SlowFollower late;
    late.free = true;
    TaskGroup followers(test.loop.executor());
    followers.spawn(SlowFollower::follow(test, call->task.id, late));
    co_await test.settle();
    EXPECT_EQ(std::ranges::count(late.text, '\n'), 3) << late.text;  // and the status only in the first line
    test.script.release.notify_all();
    co_await followers.join();
  });
}

TEST_F(TaskStreamTest, OfAStreamOnePieceWaitsForASlowFollower) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "emit");
    SlowFollower slow;
    TaskGroup followers(test.loop.executor());
    followers.spawn(SlowFollower::follow(test, call->task.id, slow));
    co_await test.settle();
    for (int i = 0; i < 1000; ++i) call->publish(runtime::Update::Kind::delta, '"' + std::string(8'000, 'd') + '"');
    for (int i = 0; i < 10; ++i) {
      slow.go_on.notify_all();
      co_await test.settle();
    }
    EXPECT_LT(std::ranges::count(slow.text, '\n'), 200);
    slow.free = true;
    slow.go_on.notify_all();
    test.script.release.notify_all();
    co_await followers.join();
    EXPECT_LT(slow.largest, 80'000u);
    EXPECT_EQ(std::ranges::count(slow.text, '\n'),
              1003);  // each delta, the app's too, the snapshot and the final task
    EXPECT_THAT(slow.text, testing::EndsWith(task_json({call->task, call->app}) + "\n"));
  });
}

TEST_F(TaskStreamTest, AFollowerThatLeavesCostsNothingAndTheCallGoesOn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto call = co_await test.start("new", "emit");
    const auto owners = call.use_count();
    SlowFollower leaving(true);
    TaskGroup followers(test.loop.executor());
    followers.spawn(SlowFollower::follow(test, call->task.id, leaving));
    co_await test.settle();
    EXPECT_GT(call.use_count(), owners);
    leaving.go_on.notify_all();
    co_await followers.join();
    EXPECT_EQ(leaving.failure, ErrorCode::connection_failed);
    EXPECT_EQ(call.use_count(), owners);
    EXPECT_FALSE(call->is_final());
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_EQ(call->task.status, store::TaskStatus::completed);
  });
}

TEST_F(TaskStreamTest, StreamsAFinishedTaskInOneLine) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const runtime::TaskView view = co_await test.call("new", "run", 5);
    const http::Response response = co_await ApiTest::ask(test, Method::get, "/tasks/" + view.task.id + "/stream");
    EXPECT_EQ(response.content_type, "application/x-ndjson");
    EXPECT_EQ(response.body, task_json(view) + "\n");
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/tasks/task_unknown/stream")).status, 404);
  });
}

}  // namespace

}  // namespace sojourn::server
