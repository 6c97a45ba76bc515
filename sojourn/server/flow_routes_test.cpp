#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using http::Method;
using runtime::RuntimeTest;

// A session in which flows ran as often, each with one call.
Async<std::string> session_with_runs(RuntimeTest& test, int runs) {
  test.script.act = [](session::CallScope& scope) -> Json {
    scope.record("other.event", {});
    scope.record("flow.run", {{"task", scope.request().task_id}, {"calls", JsonArray{{{"node", "report"}}}}});
    return nullptr;
  };
  std::string session = "new";
  for (int i = 0; i < runs; ++i) {
    const std::string body = R"({"app":"app","function":"act","wait":true,"session":")" + session + "\"}";
    const JsonObject task = co_await ApiTest::data(test, Method::post, "/apps/run", body);
    session = task.at("session_id").as_string();
  }
  co_return session;
}

}  // namespace

TEST_F(ApiTest, TellsOfTheFlowsThatRanInASessionPageByPage) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string path = "/sessions/" + co_await session_with_runs(test, 3) + "/flow";
    const http::Response all = co_await ApiTest::ask(test, Method::get, path);
    const Json runs = parse_json_object(all.body).at("data");
    EXPECT_EQ(runs.as_array().size(), 3u);
    EXPECT_EQ(runs.at(0).at("calls").at(0).at("node"), "report");
    EXPECT_TRUE(runs.at(0).at("task").is_string());
    EXPECT_LT(runs.at(0).at("seq").to_number<int>(), runs.at(1).at("seq").to_number<int>());
    EXPECT_FALSE(all.headers.find("Link"));
    const http::Response first = co_await ApiTest::ask(test, Method::get, path + "?limit=2");
    EXPECT_EQ(parse_json_object(first.body).at("data").as_array().size(), 2u);
    const std::string link(first.headers.find("Link").value_or(""));
    const std::size_t begin = link.find('<') + 1;
    const http::Response rest = co_await ApiTest::ask(test, Method::get, link.substr(begin, link.find('>') - begin));
    const Json last = parse_json_object(rest.body).at("data");
    EXPECT_EQ(last.as_array().size(), 1u);
    EXPECT_EQ(last.at(0), runs.at(2));
  });
}

TEST_F(ApiTest, HasNoFlowsOfASessionInWhichNoneRan) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await ApiTest::new_session_id(test);
    const http::Response none = co_await ApiTest::ask(test, Method::get, "/sessions/" + id + "/flow");
    EXPECT_EQ(parse_json_object(none.body).at("data"), Json(JsonArray()));
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions/sess_20260115_103045_a1b2c3/flow")).status, 404);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::get, "/sessions/" + id + "/flow?limit=101")).status, 400);
  });
}

}  // namespace sojourn::server
