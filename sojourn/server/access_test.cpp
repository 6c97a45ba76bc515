#include <fmt/format.h>

#include "sojourn/server/api_fixture_test.hpp"

namespace sojourn::server {

namespace {

using http::Method;
using runtime::RuntimeTest;
using testing::HasSubstr;

class AccessTest : public ApiTest {};

TEST_F(AccessTest, WithoutKeysAnswersToNoNameThatOthersOwn) {
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

TEST_F(AccessTest, RefusesPagesOfOtherSites) {
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

TEST_F(AccessTest, AsksForAKeyWithTheScopeThatTheRouteNeeds) {
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

TEST_F(AccessTest, ACallIsFoundAgainByItsKeyOnlyByWhoMadeIt) {
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

TEST_F(AccessTest, WithoutTheScopeToReadCancelAndKeepaliveShowNothingOfOthers) {
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
