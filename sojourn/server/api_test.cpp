#include <fmt/format.h>

#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using namespace std::chrono_literals;
using http::Method;
using runtime::RuntimeTest;
using testing::HasSubstr;

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

}  // namespace

}  // namespace sojourn::server
