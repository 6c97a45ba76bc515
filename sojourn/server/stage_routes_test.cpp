#include "sojourn/server/api_fixture_test.hpp"
#include "sojourn/server/versions.hpp"

namespace sojourn::server {

namespace {

using http::Method;
using runtime::RuntimeTest;

Async<std::string> new_assessment(RuntimeTest& test) {
  const JsonObject session =
      co_await ApiTest::data(test, Method::post, "/sessions", R"({"lifecycle":"impact-assessment"})");
  co_return std::string(session.at("id").as_string());
}

http::Headers if_match(std::string tag) {
  http::Headers headers;
  headers.add("If-Match", std::move(tag));
  return headers;
}

JsonObject error_of(const http::Response& response) {
  return parse_json_object(response.body).at("error").as_object();
}

}  // namespace

TEST_F(ApiTest, MovesASessionToAnotherStage) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await new_assessment(test);
    const JsonObject moved =
        co_await ApiTest::data(test, Method::put, "/sessions/" + id + "/stage",
                               R"({"stage":"requirement_submitted","reason":"typed in by the analyst"})");
    EXPECT_EQ(moved.at("stage"), "requirement_submitted");
    EXPECT_EQ(moved.at("allowed"), (JsonArray{"error", "matches_found"}));
    EXPECT_EQ(moved.at("final"), false);
    EXPECT_EQ(co_await ApiTest::data(test, Method::get, "/sessions/" + id + "/stage"), moved);
  });
}

TEST_F(ApiTest, RefusesAMoveThatIsNotAllowedAndNamesTheAllowedOnes) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string path = "/sessions/" + co_await new_assessment(test) + "/stage";
    for (const char* body : {R"({"stage":"completed"})", R"({"stage":"unheard_of"})"}) {
      const http::Response response = co_await ApiTest::ask(test, Method::put, path, body);
      EXPECT_EQ(response.status, 409);
      const JsonObject error = error_of(response);
      EXPECT_EQ(error.at("code"), "stage_not_allowed");
      EXPECT_EQ(error.at("details").at("allowed"), (JsonArray{"error", "requirement_submitted"}));
    }
    EXPECT_EQ((co_await ApiTest::ask(test, Method::put, path, "{}")).status, 400);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::put, path, "[]")).status, 400);
  });
}

TEST_F(ApiTest, RefusesALifecycleThatIsUnknownAndNamesTheKnownOnes) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const http::Response response = co_await ApiTest::ask(test, Method::post, "/sessions", R"({"lifecycle":"nope"})");
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(error_of(response).at("details").at("known"), JsonArray{"impact-assessment"});
  });
}

TEST_F(ApiTest, ChangesASessionOnlyAtTheVersionThatIsAskedFor) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await new_assessment(test);
    const std::string session = "/sessions/" + id;
    const auto etag = [&test](std::string path) -> Async<std::string> {
      const http::Response read = co_await ApiTest::ask(test, Method::get, std::move(path));
      co_return std::string(read.headers.find("ETag").value_or("none"));
    };
    EXPECT_EQ(co_await etag(session), "\"1\"");
    co_await ApiTest::ask(test, Method::put, session + "/state/k", "1", if_match("\"1\""));
    EXPECT_EQ(co_await etag(session + "/state"), "\"2\"");
    EXPECT_EQ(co_await etag(session + "/state/k"), "\"2\"");
    EXPECT_EQ(co_await etag(session + "/stage"), "\"2\"");

    // The same value again changes nothing, but must not pass for a write at version 1 either.
    for (const char* value : {"1", "2"}) {
      const http::Response late =
          co_await ApiTest::ask(test, Method::put, session + "/state/k", value, if_match("\"1\""));
      EXPECT_EQ(late.status, 412);
      EXPECT_EQ(error_of(late).at("details").at("version"), 2);
    }
    const char* const submit = R"({"stage":"requirement_submitted"})";
    EXPECT_EQ((co_await ApiTest::ask(test, Method::put, session + "/stage", submit, if_match("\"1\""))).status, 412);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::put, session + "/stage", submit, if_match("\"2\""))).status, 200);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::del, session + "/state/k", "", if_match("\"2\""))).status, 412);
    EXPECT_EQ((co_await ApiTest::ask(test, Method::del, session + "/state/k", "", if_match("*"))).status, 204);
  });
}

TEST_F(ApiTest, RefusesAnIfMatchThatIsNoVersion) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    const std::string id = co_await new_assessment(test);
    for (const char* tag : {"7", "\"\"", "\"x\"", "W/\"1\"", "\"1\", \"2\"", "\"-1\"", "\"1", "\"1x\""}) {
      const http::Response response =
          co_await ApiTest::ask(test, Method::put, "/sessions/" + id + "/state/k", "1", if_match(tag));
      EXPECT_EQ(response.status, 400) << tag;
    }
  });
}

}  // namespace sojourn::server
