#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using http::Method;
using runtime::RuntimeTest;

Async<std::vector<std::string>> listed(RuntimeTest& test, std::string query) {
  const http::Response response = co_await ApiTest::ask(test, Method::get, "/sessions?" + std::move(query));
  EXPECT_EQ(response.status, 200) << response.body;
  std::vector<std::string> users;
  for (const Json& session : parse_json_object(response.body).at("data").as_array()) {
    users.emplace_back(session.at("user_id").as_string());
  }
  co_return users;
}

}  // namespace

TEST_F(ApiTest, FindsSessionsByWhatIsAskedFor) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    using Users = std::vector<std::string>;
    const std::string start = format_time(test.clock.now());
    std::string bobs;
    for (const char* body : {R"({"user_id":"ann","labels":{"line":"1"}})",
                             R"({"user_id":"bob","labels":{"line":"1","shift":"a"},"lifecycle":"impact-assessment"})",
                             R"({"user_id":"cid","app":"app"})"}) {
      const JsonObject session = co_await ApiTest::data(test, Method::post, "/sessions", body);
      if (session.at("user_id") == "bob") bobs = std::string(session.at("id").as_string());
      test.clock.advance(Seconds(10));
    }
    co_await ApiTest::data(test, Method::put, "/sessions/" + bobs + "/stage", R"({"stage":"requirement_submitted"})");

    EXPECT_EQ(co_await listed(test, ""), (Users{"cid", "bob", "ann"}));
    EXPECT_EQ(co_await listed(test, "user_id=ann"), Users{"ann"});
    EXPECT_EQ(co_await listed(test, "app=app"), Users{"cid"});
    EXPECT_EQ(co_await listed(test, "stage=requirement_submitted"), Users{"bob"});
    EXPECT_EQ(co_await listed(test, "label.line=1"), (Users{"bob", "ann"}));
    EXPECT_EQ(co_await listed(test, "label.line=1&label.shift=a&status=active"), Users{"bob"});
    EXPECT_EQ(co_await listed(test, "id=" + bobs.substr(bobs.size() - 6)), Users{"bob"});
    const std::string later = format_time(test.clock.now() - Seconds(20));
    EXPECT_EQ(co_await listed(test, "created_from=" + start + "&created_before=" + later), Users{"ann"});
    EXPECT_EQ(co_await listed(test, "created_from=" + later), (Users{"cid", "bob"}));

    const http::Response counted =
        co_await ApiTest::ask(test, Method::get, "/sessions?label.line=1&limit=1&total=true");
    EXPECT_EQ(counted.headers.find("X-Total-Count"), "2");
    EXPECT_TRUE(counted.headers.find("Link"));
    EXPECT_FALSE((co_await ApiTest::ask(test, Method::get, "/sessions")).headers.find("X-Total-Count"));
  });
}

TEST_F(ApiTest, RefusesFiltersThatCannotBeMeant) {
  with_runtime([](RuntimeTest& test) -> Async<void> {
    for (const char* query : {"created_from=2026-01-15T10:30:45", "created_before=yesterday", "total=yes",
                              "status=new", "cursor=1", "limit=0", "created_from="}) {
      EXPECT_EQ((co_await ApiTest::ask(test, Method::get, std::string("/sessions?") + query)).status, 400) << query;
    }
  });
}

}  // namespace sojourn::server
