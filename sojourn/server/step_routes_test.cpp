#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using http::Method;
using runtime::RuntimeTest;

Async<std::string> new_steps(RuntimeTest& test) {
  const JsonObject session = co_await ApiTest::data(test, Method::post, "/sessions", "{}");
  co_return "/sessions/" + std::string(session.at("id").as_string()) + "/steps";
}

}  // namespace

TEST_F(ApiTest, TellsOfStepsAndHowLongTheyTook) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string steps = co_await new_steps(test);
    const JsonObject started = co_await ApiTest::data(test, Method::post, steps + "/search/start");
    EXPECT_EQ(started.at("status"), "running");
    EXPECT_EQ(started.at("duration_ms"), nullptr);
    co_await test.pass(Microseconds(1'249'600));
    const JsonObject finished = co_await ApiTest::data(test, Method::post, steps + "/search/finish", "{}");
    EXPECT_EQ(finished.at("duration_ms"), 1'250);
    EXPECT_EQ(finished.at("version"), 3);
    co_await ApiTest::data(test, Method::post, steps + "/modules/report", R"({"duration_ms":3200})");
    co_await ApiTest::data(test, Method::post, steps + "/effort/report",
                           R"({"duration_ms":5,"failed":true,"error":{"code":7}})");
    co_await ApiTest::data(test, Method::post, steps + "/search/report", R"({"duration_ms":900})");
    const JsonObject all = co_await ApiTest::data(test, Method::get, steps + "?from=2&limit=2");
    EXPECT_EQ(all.at("steps_completed"), (JsonArray{"search", "modules"}));
    EXPECT_EQ(all.at("timing"), (JsonObject{{"search_ms", 900}, {"modules_ms", 3200}}));
    EXPECT_EQ(all.at("attempts").as_array().size(), 2u);
    EXPECT_EQ(all.at("attempts").at(1).at("error"), (JsonObject{{"code", 7}}));
  });
}

TEST_F(ApiTest, RefusesTheEndOfAStepThatWasNotStarted) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string steps = co_await new_steps(test);
    for (const char* end : {"/search/finish", "/search/fail"}) {
      const http::Response response = co_await ApiTest::ask(test, Method::post, steps + end, "{}");
      EXPECT_EQ(response.status, 409);
      EXPECT_EQ(parse_json_object(response.body).at("code"), "step_not_started");
    }
  });
}

TEST_F(ApiTest, RefusesWhatIsNoStep) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string steps = co_await new_steps(test);
    const std::pair<const char*, const char*> bad[] = {
        {"/a%2Fb/start", "{}"},
        {"/../start", "{}"},
        {"/s/report", "{}"},
        {"/s/report", R"({"duration_ms":-1})"},
        {"/s/report", R"({"duration_ms":"7"})"},
        {"/s/report", R"({"duration_ms":1e99})"},
        {"/s/start", "[]"},
        {"/s/start", R"({"data":7})"},
        {"/s/finish", R"({"attempt":"first"})"},
    };
    for (const auto& [path, body] : bad) {
      const int status = (co_await ApiTest::ask(test, Method::post, steps + path, body)).status;
      EXPECT_TRUE(status == 400 || status == 404) << path << " " << body << " " << status;
    }
    EXPECT_EQ(
        (co_await ApiTest::ask(test, Method::post, "/sessions/sess_20260115_103045_a1b2c3/steps/s/start")).status,
        404);
  });
}

TEST_F(ApiTest, TakesAStepOnlyAtTheVersionThatIsAskedFor) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string steps = co_await new_steps(test);
    http::Headers headers;
    headers.add("If-Match", "\"1\"");
    EXPECT_EQ((co_await ApiTest::ask(test, Method::post, steps + "/s/start", "", headers)).status, 200);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::post, steps + "/s/start", "", headers)).status, 412);
  });
}

}  // namespace sojourn::server
