#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/flow/flow_fixture_test.hpp"
#include "sojourn/flow/openai_model.hpp"
#include "sojourn/flow/openai_wire.hpp"
#include "sojourn/http/server.hpp"

// An endpoint that speaks OpenAI's protocol and does as it is told.
namespace sojourn::flow {

inline std::string whole(const std::string& content) {
  return to_text(JsonObject{
      {"choices", JsonArray{{{"message", {{"role", "assistant"}, {"content", content}}}, {"finish_reason", "stop"}}}},
      {"usage", {{"prompt_tokens", 11}, {"completion_tokens", 3}}},
      {"system_fingerprint", "fp_1"}});
}

inline std::string piece(const std::string& delta, const char* reason = "null") {
  return R"(data: {"choices":[{"index":0,"delta":)" + delta + R"(,"finish_reason":)" + reason + "}]}\n\n";
}

// What the endpoint does with one request.
struct Turn {
  int status = 200;
  std::string body = {};
  std::string retry_after = {};
  std::vector<std::string> pieces = {};  // of a stream; none: the body is sent whole
  bool breaks_off = false;               // after the pieces
  bool is_silent = false;
};

// A stand-in for an endpoint, on the loop of the test.
class FlowOpenAi : public testing::Test {
 public:
  // Runs `fact` with an endpoint that takes these turns, then answers "late" for ever.
  void with(std::vector<Turn> given, std::function<Async<void>(FlowOpenAi&)> fact) {
    turns_.assign(given.begin(), given.end());
    turns = given.size();
    loop.run(serve(*this, std::move(fact)));
  }

  std::uint16_t port() const { return port_; }

  std::shared_ptr<OpenAiModel> model(OpenAiOptions options = {}) {
    options.endpoint = "http://127.0.0.1:" + std::to_string(port_) + "/v1";
    return model_at(std::move(options));
  }
  std::shared_ptr<OpenAiModel> model_at(OpenAiOptions options) {
    options.model = "small";
    if (options.api_key.empty()) options.api_key = "secret-key";
    options.first_pause = Milliseconds(1);
    return std::make_shared<OpenAiModel>(clock, std::move(options));
  }

  static Async<ChatAnswer> ask(FlowOpenAi& test, std::shared_ptr<OpenAiModel> model, OnPiece on_piece = nullptr,
                               Milliseconds patience = Seconds(60)) {
    co_return co_await model->ask({.messages = {{.content = "Hi"}}}, test.clock.instant() + patience,
                                  std::move(on_piece));
  }

  static Async<std::pair<ErrorCode, std::string>> error_of(Async<ChatAnswer> asked) {
    try {
      co_await std::move(asked);
    } catch (const Error& error) {
      co_return std::pair(error.code(), error.message());
    }
    ADD_FAILURE() << "it did not fail";
    co_return std::pair(ErrorCode::internal_error, std::string());
  }

  Loop loop;
  SystemClock clock;
  OneThread one_thread{loop};
  std::vector<http::Request> requests;
  std::vector<std::string> pieces;  // that were handed on
  std::size_t turns = 0;            // that it was given

 private:
  static Async<void> serve(FlowOpenAi& test, std::function<Async<void>(FlowOpenAi&)> fact) {
    const Log log = Log::silent();
    http::Server server(
        test.loop.executor(), test.clock, log, {},
        [&test](http::Request request, http::Responder& responder) {
          return handle(test, std::move(request), responder);
        },
        [](const Error& error) { return http::Response{.status = 500, .body = error.message()}; });
    test.port_ = server.listen("127.0.0.1", 0);
    std::exception_ptr failure;
    try {
      co_await fact(test);
    } catch (...) {
      failure = std::current_exception();
    }
    co_await server.close(test.clock.instant());
    if (failure) std::rethrow_exception(failure);
  }

  static Async<void> handle(FlowOpenAi& test, http::Request request, http::Responder& responder) {
    test.requests.push_back(std::move(request));
    Turn turn{.body = whole("late")};
    if (!test.turns_.empty()) {
      turn = std::move(test.turns_.front());
      test.turns_.pop_front();
    }
    if (turn.is_silent) co_await responder.client_gone();
    http::Response response{.status = turn.status, .body = turn.body};
    if (!turn.retry_after.empty()) response.headers.add("Retry-After", turn.retry_after);
    if (turn.pieces.empty()) {
      co_await responder.send(std::move(response));
      co_return;
    }
    response.content_type = "text/event-stream";
    co_await responder.start(std::move(response));
    for (const std::string& each : turn.pieces) co_await responder.write(each);
    if (turn.breaks_off) throw Error(ErrorCode::internal_error, "it broke off");
  }

  std::deque<Turn> turns_;
  std::uint16_t port_ = 0;
};

}  // namespace sojourn::flow
