#include "sojourn/server/api.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "sojourn/base/task_group.hpp"
#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/server/wire.hpp"

namespace sojourn::server {

namespace {

using namespace std::chrono_literals;
using http::Method;
using runtime::RuntimeTest;
using testing::HasSubstr;

// Takes an answer down.
class Notebook final : public http::Responder {
 public:
  Async<void> send(http::Response given) override {
    response = std::move(given);
    co_return;
  }
  Async<void> start(http::Response head, std::optional<std::uint64_t>) override {
    response = std::move(head);
    co_return;
  }
  Async<void> write(std::string chunk) override {
    response.body += chunk;
    co_return;
  }
  Async<std::string> read() override { co_return ""; }
  Async<void> client_gone() override { co_return; }

  http::Response response;
};

class ApiTest : public RuntimeTest {
 public:
  static Async<http::Response> ask(RuntimeTest& base, Method method, std::string target, std::string body = "",
                                   http::Headers headers = {}) {
    auto& test = static_cast<ApiTest&>(base);
    if (!headers.find("Host")) headers.add("Host", "127.0.0.1:8080");
    Api api(*test.runtime, test.store, test.clock, {.keys = test.keys, .stream = {.heartbeat = 15s, .linger = 0ms}});
    Notebook notebook;
    std::optional<Error> failure;
    try {
      co_await api.handle(
          {.method = method, .target = std::move(target), .headers = headers, .body = std::move(body)}, notebook);
    } catch (const Error& error) {
      failure = error;
    }
    co_return failure ? error_response(*failure) : notebook.response;
  }

  static Async<JsonObject> data(RuntimeTest& test, Method method, std::string target, std::string body = "") {
    const http::Response response = co_await ask(test, method, std::move(target), std::move(body));
    EXPECT_LT(response.status, 300) << response.body;
    co_return parse_json_object(response.body).at("data").as_object();
  }

  static Async<std::string> new_session_id(RuntimeTest& test) {
    const JsonObject task =
        co_await data(test, Method::post, "/apps/run", R"({"app":"app","session":"new","wait":true,"input":5})");
    co_return std::string(task.at("session_id").as_string());
  }

  static Async<void> follow(RuntimeTest& base, std::string target, std::string accept, std::string& body) {
    http::Headers headers;
    headers.add("Accept", std::move(accept));
    body = (co_await ask(base, Method::get, std::move(target), "", headers)).body;
  }

  // Of what is answered to who has `key`.
  static Async<std::vector<std::string>> posted_fields(RuntimeTest& test, std::string target, std::string key) {
    http::Headers headers;
    headers.add("Authorization", "Bearer " + key);
    const http::Response response = co_await ask(test, Method::post, std::move(target), "", headers);
    const JsonObject answer = parse_json_object(response.body);
    std::vector<std::string> fields;
    for (const auto& field : answer.at("data").as_object()) fields.emplace_back(field.key());
    co_return fields;
  }

  std::optional<ApiKeys> keys;
};

TEST_F(ApiTest, RunsACallAndAnswersItsTask) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const http::Response response = co_await ApiTest::ask(
        test, Method::post, "/apps/run", R"({"app":"app","session":"new","wait":true,"input":{"x":1.0}})");
    EXPECT_EQ(response.status, 200);
    const JsonObject envelope = parse_json_object(response.body);
    EXPECT_EQ(envelope.at("success"), true);
    EXPECT_EQ(envelope.at("status"), 200);
    EXPECT_EQ(envelope.at("messages"), JsonArray());
    const JsonObject& task = envelope.at("data").as_object();
    EXPECT_EQ(task.at("status"), 10);
    EXPECT_EQ(task.at("status_text"), "completed");
    EXPECT_EQ(task.at("output"), (JsonObject{{"x", 1.0}}));
    EXPECT_EQ(task.at("error"), nullptr);
    EXPECT_EQ(task.at("app_id"), "app");
    EXPECT_EQ(task.at("function"), "run");
    for (const char* field : {"id", "short_id", "session_id", "created_at", "updated_at"}) {
      EXPECT_TRUE(task.at(field).is_string()) << field;
    }
  });
}

TEST_F(ApiTest, AnswersBareToCallersOfTheSecondVersion) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    http::Headers headers;
    headers.add("x-api-version", "2");
    const http::Response response =
        co_await ApiTest::ask(test, Method::post, "/v1/run", R"({"app":"app","session":"new","wait":true})", headers);
    EXPECT_EQ(parse_json_object(response.body).at("status"), 10);
  });
}

TEST_F(ApiTest, WithoutWaitItAnswersATaskThatIsNotFinal) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const JsonObject task =
        co_await ApiTest::data(test, Method::post, "/apps/run", R"({"app":"app","session":"new"})");
    EXPECT_LT(task.at("status").as_int64(), 10);
    co_await test.settle();
    const std::string id(task.at("id").as_string());
    EXPECT_EQ((co_await ApiTest::data(test, Method::get, "/tasks/" + id + "/status")).at("status"), 10);
    EXPECT_EQ((co_await ApiTest::data(test, Method::get, "/tasks/" + id)).at("input"), nullptr);
  });
}

TEST_F(ApiTest, ATaskThatWaitsSaysItsPlaceInTheQueue) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string session = co_await test.new_session();
    const auto running = co_await test.start(session, "wait");
    std::vector<std::string> waiting;
    for (int i = 1; i <= 2; ++i) {
      const JsonObject task =
          co_await ApiTest::data(test, Method::post, "/apps/run", R"({"app":"app","session":")" + session + R"("})");
      EXPECT_EQ(task.at("queue_position"), i);
      waiting.emplace_back(task.at("id").as_string());
    }
    EXPECT_FALSE(
        (co_await ApiTest::data(test, Method::get, "/tasks/" + running->task.id)).contains("queue_position"));
    test.script.release.notify_all();
    co_await test.settle();
    EXPECT_FALSE((co_await ApiTest::data(test, Method::get, "/tasks/" + waiting[1])).contains("queue_position"));
  });
}

TEST_F(ApiTest, TakesAnAppReferenceApart) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const JsonObject task = co_await ApiTest::data(test, Method::post, "/apps/run",
                                                   R"({"app":"app@a1b2:increment","session":"new","wait":true})");
    EXPECT_EQ(task.at("function"), "increment");
  });
}

TEST_F(ApiTest, AnErrorHoldsEveryShapeThatCallersLookFor) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const http::Response response = co_await ApiTest::ask(test, Method::get, "/sessions/sess_20260101_000000_abcdef");
    EXPECT_EQ(response.status, 404);
    EXPECT_EQ(response.content_type, "application/problem+json");
    const JsonObject body = parse_json_object(response.body);
    EXPECT_EQ(body.at("success"), false);
    EXPECT_EQ(body.at("status"), 404);
    EXPECT_EQ(body.at("code"), "SESSION_NOT_FOUND");
    EXPECT_EQ(body.at("detail"), "session not found: sess_20260101_000000_abcdef");
    EXPECT_EQ(body.at("error").at("code"), "SESSION_NOT_FOUND");
    EXPECT_EQ(body.at("error").at("message"), body.at("detail"));
    EXPECT_THAT(std::string(body.at("type").as_string()), testing::EndsWith("SESSION_NOT_FOUND"));
    EXPECT_TRUE(body.at("title").is_string());
  });
}

TEST_F(ApiTest, RefusesBodiesThatAreNoRun) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::pair<const char*, const char*> bodies[] = {
        {"", "invalid_json"},
        {"no json", "invalid_json"},
        {"[]", "invalid_json"},
        {R"({"app":"app","input":NaN})", "invalid_json"},
        {"{\"app\":\"a\xff\"}", "invalid_json"},
        {R"({"app":"app","app":"app"})", "invalid_json"},
        {R"({"session":"new"})", "invalid_request"},
        {R"({"app":5,"session":"new"})", "invalid_request"},
        {R"({"app":"app","session":5})", "invalid_request"},
        {R"({"app":"app","session":"new","wait":"yes"})", "invalid_request"},
        {R"({"app":"app","session":"new","session_timeout":0})", "invalid_request"},
        {R"({"app":"app","session":"new","session_timeout":3601})", "invalid_request"},
        {R"({"app":"app","session":"new","session_timeout":"abc"})", "invalid_request"},
        {R"({"app":"app","session":"new","session_timeout":1.5})", "invalid_request"},
        {R"({"app":"app","session":"new","lifetime":31622401})", "invalid_request"},
        {R"({"app":"app","session":"new","call_timeout":86401})", "invalid_request"},
        {R"({"app":"app","session":"new","context":[]})", "invalid_request"},
        {R"({"app":"app","session":"new","labels":{"a":1}})", "invalid_request"},
        {R"({"app":"app","session":"new","run_at":1768473045})", "invalid_request"},
        {R"({"app":"app","session":"new","run_at":"tomorrow"})", "invalid_request"},
        {R"({"app":"app","session":"new","run_at":"2023-11-14T23:00:00"})", "invalid_request"},
        {R"({"app":"app","session":"new","run_at":"2025-01-01T00:00:00Z"})", "invalid_request"},
        {R"({"app":"app","session":"new","run_at":"2023-11-14T23:00:00Z","wait":true})", "invalid_request"},
    };
    for (const auto& [body, code] : bodies) {
      const http::Response response = co_await ApiTest::ask(test, Method::post, "/apps/run", body);
      EXPECT_EQ(response.status, 400) << body;
      EXPECT_EQ(parse_json_object(response.body).at("code"), code) << body;
    }
    EXPECT_TRUE((co_await test.runtime->sessions({}, "", 10)).sessions.empty());
  });
}

TEST_F(ApiTest, NamesRunAtWhereItIsNoTimeOrNamesNoZone) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    for (const auto& [time, words] :
         {std::pair("2023-11-14T23:00:00", "names no time zone"), std::pair("soon", "is no time such as"),
          std::pair("2025-01-01T00:00:00Z", "at most 366 days ahead")}) {
      const http::Response response = co_await ApiTest::ask(
          test, Method::post, "/apps/run", fmt::format(R"({{"app":"app","session":"new","run_at":"{}"}})", time));
      EXPECT_EQ(parse_json_object(response.body).at("error").at("details").at("field"), "run_at");
      EXPECT_THAT(response.body, AllOf(HasSubstr("'run_at'"), HasSubstr(words)));
    }
  });
}

TEST_F(ApiTest, FollowsACallFromBeforeItsTime) {
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

TEST_F(ApiTest, AStreamOfACallToComeBreaksOffWhenTheServerStops) {
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

TEST_F(ApiTest, NamesTheFieldAndTheRangeOfABadTimeout) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const http::Response response = co_await ApiTest::ask(test, Method::post, "/apps/run",
                                                          R"({"app":"app","session":"new","session_timeout":3601})");
    EXPECT_THAT(response.body,
                HasSubstr("'session_timeout' must be a whole number of seconds from 1 to 3600, not 3601"));
  });
}

TEST_F(ApiTest, TellsUnknownPathsFromWrongMethods) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/nothing")).status, 404);
    const http::Response response = co_await ApiTest::ask(test, Method::put, "/sessions");
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(response.headers.find("Allow"), "POST, GET");
    for (const char* path : {"/apps/run", "/v1/apps/run", "/run"}) {
      const http::Response wrong = co_await ApiTest::ask(test, Method::get, path);
      EXPECT_EQ(wrong.status, 405) << path;
      EXPECT_EQ(wrong.headers.find("Allow"), "POST") << path;
    }
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions/%2e%2e/x")).status, 400);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions/sess%00")).status, 400);
  });
}

TEST_F(ApiTest, ShowsKeepsAndEndsASession) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await ApiTest::new_session_id(test);
    JsonObject session = co_await ApiTest::data(test, Method::get, "/sessions/" + id);
    EXPECT_EQ(session.at("id"), Json(id));
    EXPECT_EQ(session.at("status"), "active");
    EXPECT_EQ(session.at("app_id"), "app");
    EXPECT_EQ(session.at("call_count"), 1);
    EXPECT_EQ(session.at("idle_timeout"), 60);
    EXPECT_EQ(session.at("worker_id"), "pid-7");
    EXPECT_TRUE(session.at("last_call_at").is_string());
    test.clock.advance(10s);
    const JsonObject kept = co_await ApiTest::data(test, Method::post, "/sessions/" + id + "/keepalive");
    EXPECT_NE(kept.at("expires_at"), session.at("expires_at"));
    EXPECT_EQ((co_await ApiTest::ask(test, Method::del, "/sessions/" + id)).status, 204);
    session = co_await ApiTest::data(test, Method::get, "/sessions/" + id);
    EXPECT_EQ(session.at("status"), "ended");
    EXPECT_TRUE(session.at("ended_at").is_string());
    const http::Response again = co_await ApiTest::ask(test, Method::del, "/sessions/" + id);
    EXPECT_EQ(again.status, 410);
    EXPECT_THAT(again.body, HasSubstr("session ended: " + id));
  });
}

TEST_F(ApiTest, ShowsAFailedSessionAsEndedWithItsError) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await ApiTest::new_session_id(test);
    co_await test.call(id, "die");
    co_await test.settle();
    const JsonObject session = co_await ApiTest::data(test, Method::get, "/sessions/" + id);
    EXPECT_EQ(session.at("status"), "ended");
    EXPECT_EQ(session.at("error").at("code"), "WORKER_LOST");
    const http::Response refused =
        co_await ApiTest::ask(test, Method::post, "/apps/run", R"({"app":"app","session":")" + id + R"("})");
    EXPECT_EQ(refused.status, 500);
    EXPECT_EQ(parse_json_object(refused.body).at("code"), "WORKER_LOST");
  });
}

TEST_F(ApiTest, ListsSessionsNewestFirstInPages) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    std::vector<std::string> ids;
    ids.reserve(3);
    for (int i = 0; i < 3; ++i) ids.push_back(co_await ApiTest::new_session_id(test));
    const http::Response first = co_await ApiTest::ask(test, Method::get, "/sessions?limit=2&app=app");
    const JsonArray page = parse_json_object(first.body).at("data").as_array();
    EXPECT_EQ(page.size(), 2u);
    EXPECT_EQ(page.at(0).at("id"), Json(ids[2]));
    EXPECT_EQ(page.at(0).at("worker_id"), "pid-7");  // also what only memory knows
    const auto link = first.headers.find("Link");
    EXPECT_TRUE(link);
    if (!link) co_return;
    EXPECT_THAT(std::string(*link), testing::EndsWith(">; rel=\"next\""));
    const std::string next(link->substr(1, link->find('>') - 1));
    const http::Response second = co_await ApiTest::ask(test, Method::get, next);
    EXPECT_EQ(parse_json_object(second.body).at("data").as_array().at(0).at("id"), Json(ids[0]));
    EXPECT_FALSE(second.headers.find("Link"));
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions?limit=0")).status, 400);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions?cursor=x")).status, 400);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions?status=odd")).status, 400);
  });
}

TEST_F(ApiTest, CreatesOneSessionForTheSameKey) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    std::vector<Json> ids;
    for (const char* key : {"a", "a", "b"}) {
      http::Headers headers;
      headers.add("Idempotency-Key", key);
      const http::Response created = co_await ApiTest::ask(test, Method::post, "/sessions", "{}", headers);
      ids.push_back(parse_json_object(created.body).at("data").at("id"));
    }
    EXPECT_EQ(ids.at(0), ids.at(1));
    EXPECT_NE(ids.at(0), ids.at(2));
  });
}

TEST_F(ApiTest, CreatesASessionWithoutAnApp) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const http::Response created = co_await ApiTest::ask(test, Method::post, "/sessions",
                                                         R"({"user_id":"me","context":{"a":1},"labels":{"k":"v"}})");
    EXPECT_EQ(created.status, 201);
    const JsonObject session = parse_json_object(created.body).at("data").as_object();
    EXPECT_EQ(session.at("user_id"), "me");
    EXPECT_EQ(session.at("context"), (JsonObject{{"a", 1}}));
    EXPECT_EQ(session.if_contains("idle_timeout"), nullptr);
    const std::string id(session.at("id").as_string());
    EXPECT_EQ((co_await ApiTest::ask(test, Method::put, "/sessions/" + id + "/state/x%20y", "[1]")).status, 204);
    EXPECT_EQ((co_await ApiTest::data(test, Method::get, "/sessions/" + id + "/state")),
              (JsonObject{{"x y", JsonArray{1}}}));
    EXPECT_EQ((co_await ApiTest::ask(test, Method::del, "/sessions/" + id + "/state/x%20y")).status, 204);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions/" + id + "/state/x%20y")).status, 404);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::post, "/apps/run", R"({"session":")" + id + R"("})")).status, 400);
  });
}

TEST_F(ApiTest, ShowsEventsAsTheyAreStored) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await ApiTest::new_session_id(test);
    const http::Response response =
        co_await ApiTest::ask(test, Method::get, "/sessions/" + id + "/events?from=1&limit=1");
    const store::Event stored = (co_await test.store.events(id, 1, 1)).at(0);
    EXPECT_THAT(response.body, HasSubstr("{\"event\":" + stored.body + ",\"hash\":\"" + to_hex(stored.hash) + "\"}"));
  });
}

TEST_F(ApiTest, ShowsAppsAlsoWithANamespace) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    test.runtime->add_app(std::make_shared<runtime::TestApp>(session::AppInfo{.name = "infsh/other"}, test.script));
    EXPECT_EQ((co_await ApiTest::data(test, Method::get, "/apps/infsh/other")).at("name"), "infsh/other");
    EXPECT_EQ((co_await ApiTest::data(test, Method::get, "/apps/app")).at("default_function"), "run");
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/apps/none")).status, 404);
  });
}

TEST_F(ApiTest, StreamsATaskFromItsSnapshotToItsEnd) {
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

TEST_F(ApiTest, TellsALateFollowerTheDeltasSinceTheNewestPartialOutput) {
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

TEST_F(ApiTest, TellsALateFollowerOfACallWithoutPartialOutputsAllItsDeltas) {
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

TEST_F(ApiTest, OfAStreamOnePieceWaitsForASlowFollower) {
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

TEST_F(ApiTest, AFollowerThatLeavesCostsNothingAndTheCallGoesOn) {
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

TEST_F(ApiTest, StreamsAFinishedTaskInOneLine) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const runtime::TaskView view = co_await test.call("new", "run", 5);
    const http::Response response = co_await ApiTest::ask(test, Method::get, "/tasks/" + view.task.id + "/stream");
    EXPECT_EQ(response.content_type, "application/x-ndjson");
    EXPECT_EQ(response.body, task_json(view) + "\n");
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/tasks/task_unknown/stream")).status, 404);
  });
}

TEST_F(ApiTest, ATaskThatFailedTellsItsErrorAsTextAndWhole) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const JsonObject task = co_await ApiTest::data(test, Method::post, "/apps/run",
                                                   R"({"app":"app","function":"fail","session":"new","wait":true})");
    EXPECT_EQ(task.at("status"), 11);
    EXPECT_EQ(task.at("error"), "ValueError: no");
    EXPECT_EQ(task.at("error_info").at("code"), "app_error");
  });
}

TEST_F(ApiTest, RefusesToListEventsFromPastWhatTheStoreCounts) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await new_session_id(test);
    const std::string target = "/sessions/" + id + "/events?from=";
    EXPECT_EQ((co_await ask(test, Method::get, target + "9223372036854775807")).status, 200);
    EXPECT_EQ((co_await ask(test, Method::get, target + "9223372036854775808")).status, 400);
  });
}

TEST_F(ApiTest, WithoutKeysAnswersToNoNameThatOthersOwn) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    for (const char* host : {"evil.example", "evil.example:8080", "127.0.0.1.evil.example",
                             "localhost.evil.example:80", "[evil]:80", ""}) {
      http::Headers headers;
      headers.add("Host", host);
      EXPECT_EQ((co_await ask(test, Method::get, "/sessions", "", headers)).status, 403) << host;
    }
    for (const char* host : {"127.0.0.1", "localhost:8080", "[::1]:8080", "app.localhost", "10.0.0.7:80"}) {
      http::Headers headers;
      headers.add("Host", host);
      EXPECT_EQ((co_await ask(test, Method::get, "/sessions", "", headers)).status, 200) << host;
    }
  });
}

TEST_F(ApiTest, RefusesPagesOfOtherSites) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    http::Headers foreign;
    foreign.add("Origin", "https://evil.example");
    const http::Response refused = co_await ApiTest::ask(test, Method::get, "/sessions", "", foreign);
    EXPECT_EQ(refused.status, 403);
    EXPECT_THAT(refused.body, HasSubstr("pages of https://evil.example may not call this server"));
    EXPECT_THAT(refused.body, testing::Not(HasSubstr("Use a key")));
    http::Headers own;
    own.add("Origin", "http://127.0.0.1:8080");
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions", "", own)).status, 200);
  });
}

TEST_F(ApiTest, IsReadyUntilItStops) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/healthz")).status, 200);
    const http::Response ready = co_await ApiTest::ask(test, Method::get, "/readyz");
    EXPECT_EQ(ready.status, 200);
    EXPECT_THAT(ready.body, testing::HasSubstr(R"("status":"ready")"));
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/")).status, 200);
    co_await test.runtime->close(test.clock.instant());
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/healthz")).status, 200);
    const http::Response response = co_await ApiTest::ask(test, Method::get, "/readyz");
    EXPECT_EQ(response.status, 503);
    EXPECT_TRUE(response.headers.find("Retry-After"));
  });
}

TEST_F(ApiTest, AsksForAKeyWithTheScopeThatTheRouteNeeds) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("sojourn-keys-" + SystemRandom().hex(8) + ".toml");
  add_key(file, "reader", {Scope::apps_read}, "sjn_read");
  add_key(file, "runner", {Scope::apps_execute}, "sjn_run");
  keys = ApiKeys::read(file);
  std::filesystem::remove(file);
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto ask_with = [&test](Method method, std::string target, std::string authorization,
                                  std::string body = "") {
      http::Headers headers;
      if (!authorization.empty()) headers.add("Authorization", std::move(authorization));
      return ApiTest::ask(test, method, std::move(target), std::move(body), headers);
    };
    const std::string run = R"({"app":"app","session":"new","wait":true})";
    EXPECT_EQ((co_await ask_with(Method::get, "/sessions", "")).status, 401);
    EXPECT_EQ((co_await ask_with(Method::get, "/sessions", "Bearer wrong")).status, 401);
    EXPECT_EQ((co_await ask_with(Method::get, "/sessions", "Bearer sjn_read")).status, 200);
    const http::Response lacking = co_await ask_with(Method::post, "/apps/run", "Bearer sjn_read", run);
    EXPECT_EQ(lacking.status, 403);
    EXPECT_THAT(lacking.body, HasSubstr("apps:execute"));
    const http::Response done = co_await ask_with(Method::post, "/apps/run", "Bearer sjn_run", run);
    EXPECT_EQ(done.status, 200);
    EXPECT_EQ((co_await ask_with(Method::get, "/healthz", "")).status, 200);
    const std::string id(parse_json_object(done.body).at("data").at("session_id").as_string());
    EXPECT_THAT((co_await test.store.events(id, 1, 1)).at(0).body, HasSubstr(R"("actor":"runner")"));
  });
}

TEST_F(ApiTest, ACallIsFoundAgainByItsKeyOnlyByWhoMadeIt) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("sojourn-keys-" + SystemRandom().hex(8) + ".toml");
  add_key(file, "ann", {Scope::apps_execute}, "sjn_ann");
  add_key(file, "bob", {Scope::apps_execute}, "sjn_bob");
  keys = ApiKeys::read(file);
  std::filesystem::remove(file);
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string session = (co_await test.runtime->create_session({.app = "app"})).record.id;
    const auto run_as = [&](std::string_view key) {
      http::Headers headers;
      headers.add("Authorization", fmt::format("Bearer {}", key));
      headers.add("Idempotency-Key", "order-7");
      return ApiTest::ask(test, Method::post, "/apps/run",
                          R"({"session":")" + session + R"(","input":"secret","wait":true})", headers);
    };
    const http::Response first = co_await run_as("sjn_ann");
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ((co_await run_as("sjn_ann")).body, first.body);
    const http::Response others = co_await run_as("sjn_bob");
    EXPECT_EQ(others.status, 422);
    EXPECT_THAT(others.body, HasSubstr("idempotency_mismatch"));
  });
}

TEST_F(ApiTest, WithoutTheScopeToReadCancelAndKeepaliveShowNothingOfOthers) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("sojourn-keys-" + SystemRandom().hex(8) + ".toml");
  add_key(file, "runner", {Scope::apps_execute}, "sjn_run");
  add_key(file, "both", {Scope::apps_execute, Scope::apps_read}, "sjn_both");
  keys = ApiKeys::read(file);
  std::filesystem::remove(file);
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const auto of_status = testing::ElementsAre("id", "status", "status_text", "updated_at");
    const runtime::TaskView over = co_await test.call("new", "run", "secret");
    const std::string session = over.task.session_id;
    EXPECT_THAT(co_await posted_fields(test, "/tasks/" + over.task.id + "/cancel", "sjn_run"), of_status);
    EXPECT_THAT(co_await posted_fields(test, "/tasks/" + over.task.id + "/cancel", "sjn_both"),
                testing::Contains("input"));
    EXPECT_THAT(co_await posted_fields(test, "/sessions/" + session + "/keepalive", "sjn_run"),
                testing::ElementsAre("id", "status", "expires_at"));
    EXPECT_THAT(co_await posted_fields(test, "/sessions/" + session + "/keepalive", "sjn_both"),
                testing::Contains("context"));

    const auto of_another = co_await test.start(session, "wait_for_cancel", "secret");
    EXPECT_THAT(co_await posted_fields(test, "/tasks/" + of_another->task.id + "/cancel", "sjn_run"), of_status);
    co_await test.settle();
    EXPECT_EQ(of_another->task.status, store::TaskStatus::cancelled);

    const runtime::TaskView own = co_await test.runtime->run(
        {.app = "app", .function = "wait_for_cancel", .session = session, .wait = false, .actor = "runner"});
    EXPECT_THAT(co_await posted_fields(test, "/tasks/" + own.task.id + "/cancel", "sjn_run"),
                testing::Contains("input"));
    co_await test.settle();
  });
}

}  // namespace

}  // namespace sojourn::server
