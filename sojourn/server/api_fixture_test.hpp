#pragma once

#include <gmock/gmock.h>

#include "sojourn/runtime/runtime_fixture_test.hpp"
#include "sojourn/server/api.hpp"
#include "sojourn/server/wire.hpp"

// Asks an Api in front of a runtime of test apps.
namespace sojourn::server {

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

class ApiTest : public runtime::RuntimeTest {
 public:
  static Async<http::Response> ask(runtime::RuntimeTest& base, http::Method method, std::string target,
                                   std::string body = "", http::Headers headers = {}) {
    auto& test = static_cast<ApiTest&>(base);
    if (!headers.find("Host")) headers.add("Host", "127.0.0.1:8080");
    Api api(*test.runtime, test.store, test.clock,
            {.keys = test.keys, .stream = {.heartbeat = Seconds(15), .linger = Milliseconds(0)}});
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

  static Async<JsonObject> data(runtime::RuntimeTest& test, http::Method method, std::string target,
                                std::string body = "") {
    const http::Response response = co_await ask(test, method, std::move(target), std::move(body));
    EXPECT_LT(response.status, 300) << response.body;
    co_return parse_json_object(response.body).at("data").as_object();
  }

  static Async<std::string> new_session_id(runtime::RuntimeTest& test) {
    const JsonObject task = co_await data(test, http::Method::post, "/apps/run",
                                          R"({"app":"app","session":"new","wait":true,"input":5})");
    co_return std::string(task.at("session_id").as_string());
  }

  static Async<void> follow(runtime::RuntimeTest& base, std::string target, std::string accept, std::string& body) {
    http::Headers headers;
    headers.add("Accept", std::move(accept));
    body = (co_await ask(base, http::Method::get, std::move(target), "", headers)).body;
  }

  // Of what is answered to who has `key`.
  static Async<std::vector<std::string>> posted_fields(runtime::RuntimeTest& test, std::string target,
                                                       std::string key) {
    http::Headers headers;
    headers.add("Authorization", "Bearer " + key);
    const http::Response response = co_await ask(test, http::Method::post, std::move(target), "", headers);
    const JsonObject answer = parse_json_object(response.body);
    std::vector<std::string> fields;
    for (const auto& field : answer.at("data").as_object()) fields.emplace_back(field.key());
    co_return fields;
  }

  std::optional<ApiKeys> keys;
};

}  // namespace sojourn::server
