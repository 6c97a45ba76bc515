#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using http::Method;
using runtime::RuntimeTest;

Async<JsonObject> seed(RuntimeTest& test, Method method, std::string target, std::string body = "") {
  const http::Response response = co_await ApiTest::ask(test, method, std::move(target), std::move(body));
  EXPECT_EQ(response.status, 200) << response.body;
  co_return parse_json_object(response.body);
}

std::vector<std::string> names_of(const JsonObject& object) {
  std::vector<std::string> names;
  for (const auto& field : object) names.emplace_back(field.key());
  return names;
}

}  // namespace

TEST_F(ApiTest, CreatesAnAssessmentAsSeed001Does) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const JsonObject created =
        co_await seed(test, Method::post, "/session/create", R"({"user_id":"developer@example.com"})");
    EXPECT_EQ(names_of(created),
              (std::vector<std::string>{"session_id", "created_at", "status", "audit_path", "user_id"}));
    EXPECT_EQ(created.at("status"), "created");
    EXPECT_EQ(created.at("user_id"), "developer@example.com");
    const std::string path = "/session/" + std::string(created.at("session_id").as_string());
    EXPECT_EQ(co_await seed(test, Method::get, path), created);
    EXPECT_EQ(co_await seed(test, Method::get, "/v1" + path), created);
    EXPECT_EQ((co_await seed(test, Method::post, "/session/create", "{}")).at("user_id"), nullptr);
  });
}

TEST_F(ApiTest, AuditsAnAssessmentAsSeed001Does) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    runtime::SessionService service(*test.runtime, test.store, [](const std::string& id) { return "here/" + id; });
    const runtime::AssessmentSession session = co_await service.create("ann", "tester");
    EXPECT_EQ(session.audit_path, "here/" + session.session_id);
    EXPECT_EQ((co_await service.update_status(session.session_id, "requirement_submitted")).status,
              "requirement_submitted");
    EXPECT_EQ(co_await code_of(service.update_status(session.session_id, "completed")), ErrorCode::stage_not_allowed);
    for (const char* step : {"search", "modules"}) {
      co_await test.runtime->change_step(
          session.session_id,
          {.kind = session::StepChange::Kind::report, .name = step, .duration = Milliseconds(1'250)});
    }
    const JsonObject audit = co_await seed(test, Method::get, "/session/" + session.session_id + "/audit");
    EXPECT_EQ(names_of(audit),
              (std::vector<std::string>{"session_id", "created_at", "status", "steps_completed", "timing", "data"}));
    EXPECT_EQ(audit.at("status"), "requirement_submitted");
    EXPECT_EQ(audit.at("steps_completed"), (JsonArray{"search", "modules"}));
    EXPECT_EQ(audit.at("timing"), (JsonObject{{"search_ms", 1'250}, {"modules_ms", 1'250}}));
    const JsonObject& data = audit.at("data").as_object();
    EXPECT_EQ(data.at("metadata").at("steps_completed"), audit.at("steps_completed"));
    EXPECT_EQ(data.at("metadata").at("timing"), audit.at("timing"));
    EXPECT_EQ(data.at("events").as_array().size(), 4u);
    EXPECT_EQ(data.at("attempts").as_array().size(), 2u);
    EXPECT_EQ(data.at("artifacts"), JsonArray());
    EXPECT_EQ(data.at("head").at("seq"), 4);
    EXPECT_EQ(data.at("head").at("hash"), data.at("events").at(3).at("hash"));
    const JsonObject later =
        co_await seed(test, Method::get, "/session/" + session.session_id + "/audit?from=3&limit=1");
    EXPECT_EQ(later.at("data").at("events").as_array().size(), 1u);
    EXPECT_EQ(later.at("data").at("events").at(0).at("event").at("seq"), 3);
  });
}

TEST_F(ApiTest, ListsAssessmentsAsSeed001Does) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 5; ++i) {
      const JsonObject created = co_await seed(test, Method::post, "/session/create", "{}");
      ids.emplace_back(created.at("session_id").as_string());
      test.clock.advance(Seconds(1));
    }
    const std::string state = "/sessions/" + ids[3] + "/state/";
    std::string text;
    for (int i = 0; i < 201; ++i) text += "\xc3\xa4";
    co_await ApiTest::ask(test, Method::put, state + "requirement_text", '"' + text + '"');
    co_await ApiTest::ask(test, Method::put, state + "total_hours", "12.5");
    const JsonObject list = co_await seed(test, Method::get, "/session/list?limit=2&offset=1");
    EXPECT_EQ(names_of(list), (std::vector<std::string>{"sessions", "total", "limit", "offset"}));
    EXPECT_EQ(list.at("total"), 5);
    EXPECT_EQ(list.at("limit"), 2);
    EXPECT_EQ(list.at("offset"), 1);
    const JsonArray& sessions = list.at("sessions").as_array();
    EXPECT_EQ(sessions.size(), 2u);
    EXPECT_EQ(sessions.at(0).at("session_id"), Json(ids[3]));
    EXPECT_EQ(sessions.at(0).at("requirement_text"), Json(text.substr(0, 400)));
    EXPECT_EQ(sessions.at(0).at("total_hours"), 12.5);
    EXPECT_EQ(sessions.at(1).at("requirement_text"), nullptr);
    const JsonObject all = co_await seed(test, Method::get, "/session/list");
    EXPECT_EQ(all.at("limit"), 50);
    EXPECT_EQ(all.at("sessions").as_array().size(), 5u);
    EXPECT_TRUE((co_await seed(test, Method::get, "/session/list?offset=5")).at("sessions").as_array().empty());
    EXPECT_TRUE(
        (co_await seed(test, Method::get, "/session/list?offset=999999999")).at("sessions").as_array().empty());
  });
}

TEST_F(ApiTest, TellsErrorsOfAssessmentsAsSeed001Does) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    struct Case {
      Method method;
      const char* target;
      const char* body;
      int status;
      const char* error;
    };
    const Case cases[] = {
        {Method::get, "/session/sess_20260115_103045_a1b2c3", "", 404, "SessionNotFoundError"},
        {Method::get, "/session/sess_20260115_103045_a1b2c3/audit", "", 404, "SessionNotFoundError"},
        {Method::get, "/session/..%2F..%2Fescape", "", 422, "InvalidRequestError"},
        {Method::get, "/session/sess_20260115_103045_..escp", "", 404, "SessionNotFoundError"},
        {Method::post, "/session/create", "[]", 422, "InvalidJsonError"},
        {Method::post, "/session/create", "{", 422, "InvalidJsonError"},
        {Method::post, "/session/create", R"({"user_id":7})", 422, "InvalidRequestError"},
        {Method::get, "/session/list?limit=0", "", 422, "InvalidRequestError"},
        {Method::get, "/session/list?limit=1001", "", 422, "InvalidRequestError"},
        {Method::get, "/session/list?offset=-1", "", 422, "InvalidRequestError"},
        {Method::get, "/session/list?offset=x", "", 422, "InvalidRequestError"},
        {Method::del, "/session/list", "", 405, "MethodNotAllowedError"},
        {Method::get, "/session/a/b/c", "", 404, "NotFoundError"},
    };
    for (const Case& one : cases) {
      const http::Response response = co_await ApiTest::ask(test, one.method, one.target, one.body);
      EXPECT_EQ(response.status, one.status) << one.target << response.body;
      const JsonObject detail = parse_json_object(response.body).at("detail").as_object();
      EXPECT_EQ(names_of(detail), (std::vector<std::string>{"error", "message", "component", "details"}));
      EXPECT_EQ(detail.at("error"), one.error) << one.target;
      EXPECT_EQ(detail.at("component"), "session");
    }
    EXPECT_TRUE((co_await test.store.list({}, "", 10)).sessions.empty()) << "a refused request made a session";
  });
}

}  // namespace sojourn::server
