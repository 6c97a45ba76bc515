#include "sojourn/flow/openai_model.hpp"

#include <gmock/gmock.h>

#include "sojourn/flow/agent.hpp"
#include "sojourn/flow/openai_stand_in_test.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

TEST_F(FlowOpenAi, AsksAndAnswers) {
  with({{.body = whole("Hello!")}}, [](FlowOpenAi& test) -> Async<void> {
    const ChatAnswer answer = co_await ask(test, test.model());
    EXPECT_EQ(answer.message.content, "Hello!");
    EXPECT_EQ(answer.input_tokens, 11U);
    EXPECT_EQ(answer.output_tokens, 3U);
    EXPECT_EQ(answer.system_fingerprint, "fp_1");
  });
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].target, "/v1/chat/completions");
  EXPECT_EQ(requests[0].headers.find("Authorization"), "Bearer secret-key");
  EXPECT_EQ(parse_json(requests[0].body),
            parse_json(R"({"model":"small","messages":[{"role":"user","content":"Hi"}]})"));
}

TEST_F(FlowOpenAi, HandsOnAnAnswerAsItComes) {
  const std::string last = piece("{}", "\"stop\"");
  with({{.pieces = {": a comment\n\n", piece(R"({"content":"Hel"})"), piece(R"({"content":"lo"})").substr(0, 20),
                    piece(R"({"content":"lo"})").substr(20), last,
                    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\r\n\r\n",
                    "data: [DONE]\n\n"}}},
       [](FlowOpenAi& test) -> Async<void> {
         const ChatAnswer answer =
             co_await ask(test, test.model(), [&test](std::string_view text) { test.pieces.emplace_back(text); });
         EXPECT_EQ(answer.message.content, "Hello");
         EXPECT_EQ(answer.output_tokens, 2U);
       });
  EXPECT_THAT(pieces, ElementsAre("Hel", "lo"));
  EXPECT_EQ(parse_json(requests[0].body).at("stream"), Json(true));
}

TEST_F(FlowOpenAi, PutsToolCallsTogetherFromTheirPieces) {
  with({{.pieces = {piece(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"add","arguments":"{\"x\""}}]})"),
                    piece(R"({"tool_calls":[{"index":1,"id":"b","function":{"name":"sub","arguments":"{}"}}]})"),
                    piece(R"({"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]})"),
                    piece("{}", "\"tool_calls\""), "data: [DONE]\n\n"}}},
       [](FlowOpenAi& test) -> Async<void> {
         const ChatAnswer answer = co_await ask(test, test.model(), [](std::string_view) {});
         EXPECT_THAT(answer.message.tool_calls,
                     ElementsAre(ToolCall{"a", "add", R"({"x":1})"}, ToolCall{"b", "sub", "{}"}));
       });
}

TEST_F(FlowOpenAi, AsksAgainWhenTheEndpointCouldNotAnswer) {
  with({{.status = 429, .body = "busy", .retry_after = "0"},
        {.status = 500, .body = R"({"error":{"message":"oops"}})"},
        {.body = "garbage"},
        {.pieces = {piece(R"({"content":"half"})")}, .breaks_off = true},
        {.body = whole("at last")}},
       [](FlowOpenAi& test) -> Async<void> {
         EXPECT_EQ((co_await ask(test, test.model())).message.content, "at last");
       });
  EXPECT_EQ(requests.size(), 5U);
}

TEST_F(FlowOpenAi, GivesUpAfterItsAttemptsAndSaysWhy) {
  with(
      {{.status = 503, .body = R"({"error":{"message":"no room for secret-key"}})"}, {.status = 503, .body = "full"}},
      [](FlowOpenAi& test) -> Async<void> {
        EXPECT_THAT(
            co_await error_of(ask(test, test.model({.attempts = 1}))),
            Pair(ErrorCode::unavailable, "model \"small\" at 127.0.0.1 answered with status 503: no room for ***"));
        EXPECT_THAT(co_await error_of(ask(test, test.model({.attempts = 1}))),
                    Pair(ErrorCode::unavailable, HasSubstr("503: full")));
      });
}

TEST_F(FlowOpenAi, DoesNotAskAgainWhatIsRefused) {
  with({{.status = 401, .body = "who?"}, {.status = 400, .body = R"({"error":"too long"})"}},
       [](FlowOpenAi& test) -> Async<void> {
         EXPECT_THAT(co_await error_of(ask(test, test.model())), Pair(ErrorCode::unauthorized, HasSubstr("401")));
         EXPECT_THAT(co_await error_of(ask(test, test.model())),
                     Pair(ErrorCode::invalid_request, HasSubstr("too long")));
       });
  EXPECT_EQ(requests.size(), 2U);
}

// Else whoever listens would hear the beginning twice.
TEST_F(FlowOpenAi, DoesNotAskAgainOnceAPieceWasHandedOn) {
  with({{.pieces = {piece(R"({"content":"half"})")}, .breaks_off = true}}, [](FlowOpenAi& test) -> Async<void> {
    EXPECT_THAT((co_await error_of(ask(test, test.model(), [](std::string_view) {}))).first,
                ErrorCode::connection_failed);
  });
  EXPECT_EQ(requests.size(), 1U);
}

TEST_F(FlowOpenAi, TakesAStreamThatEndsWithoutAReasonForHalfOfOne) {
  with({{.pieces = {piece(R"({"content":"half"})")}}, {.pieces = {"data: {\"error\":{\"message\":\"lost\"}}\n\n"}}},
       [](FlowOpenAi& test) -> Async<void> {
         EXPECT_THAT(co_await error_of(ask(test, test.model({.attempts = 1}))),
                     Pair(ErrorCode::connection_failed, HasSubstr("broke off")));
         EXPECT_THAT(co_await error_of(ask(test, test.model({.attempts = 1}))),
                     Pair(ErrorCode::unavailable, HasSubstr("lost")));
       });
}

TEST_F(FlowOpenAi, TellsNobodyItsKeyWhereTheEndpointSaysItBack) {
  with({{.pieces = {"data: {\"error\":{\"message\":\"no room for secret-key\"}}\n\n"}},
        {.status = 400, .body = "a*b"}},
       [](FlowOpenAi& test) -> Async<void> {
         EXPECT_THAT(co_await error_of(ask(test, test.model({.attempts = 1}))),
                     Pair(ErrorCode::unavailable, "model \"small\" at 127.0.0.1 broke off: no room for ***"));
         EXPECT_THAT(co_await error_of(ask(test, test.model({.api_key = "*"}))),
                     Pair(ErrorCode::invalid_request, HasSubstr("a***b")));
       });
}

// Of those who do not count, some say -1.
TEST_F(FlowOpenAi, TakesAnAnswerThatCountsNoTokens) {
  const char* const body = R"({"choices":[{"message":{"content":"yes"}}],"usage":{"prompt_tokens":-1}})";
  with({{.body = body}}, [](FlowOpenAi& test) -> Async<void> {
    const ChatAnswer answer = co_await ask(test, test.model());
    EXPECT_EQ(answer.message.content, "yes");
    EXPECT_FALSE(answer.input_tokens);
  });
}

TEST_F(FlowOpenAi, RefusesWhatIsNoAnswer) {
  std::vector<Turn> refused;
  const char* const bodies[] = {"",
                                "7",
                                "{}",
                                R"({"choices":[]})",
                                R"({"choices":[7]})",
                                R"({"choices":[{"message":7}]})",
                                R"({"choices":[{"message":{"content":7}}]})",
                                R"({"choices":[{"message":{"tool_calls":[7]}}]})"};
  for (const char* body : bodies) refused.push_back({.body = body});
  refused.push_back({.pieces = {"data: garbage\n\n"}});
  refused.push_back({.pieces = {piece("7")}});
  refused.push_back({.pieces = {piece(R"({"tool_calls":[7]})")}});
  with(std::move(refused), [](FlowOpenAi& test) -> Async<void> {
    for (std::size_t i = 0; i < test.turns; ++i) {
      EXPECT_THAT(co_await error_of(ask(test, test.model({.attempts = 1}))),
                  Pair(ErrorCode::connection_failed, HasSubstr("gave no answer")))
          << i;
    }
  });
}

TEST_F(FlowOpenAi, IsBoundedInWhatItReads) {
  with({{.body = whole(std::string(5'000, 'x'))},
        {.pieces = {piece(R"({"tool_calls":[{"index":4000000000,"id":"a"}]})")}},
        {.pieces = {"data: " + std::string(2 << 20, 'x')}}},
       [](FlowOpenAi& test) -> Async<void> {
         for (int i = 0; i < 3; ++i) {
           EXPECT_EQ((co_await error_of(ask(test, test.model({.answer_bytes = 4'000})))).first, ErrorCode::too_large);
         }
       });
}

TEST_F(FlowOpenAi, EndsAtItsDeadlineAndDoesNotWaitPastIt) {
  with({{.is_silent = true}, {.status = 429, .body = "later", .retry_after = "3600"}},
       [](FlowOpenAi& test) -> Async<void> {
         EXPECT_EQ(
             (co_await error_of(ask(test, test.model({.silence = std::chrono::hours(1)}), nullptr, Milliseconds(30))))
                 .first,
             ErrorCode::call_timeout);
         EXPECT_EQ((co_await error_of(ask(test, test.model()))).first, ErrorCode::unavailable);
       });
  EXPECT_EQ(requests.size(), 2U);
}

TEST_F(FlowOpenAi, AsksAgainAfterASilence) {
  with({{.is_silent = true}, {.body = whole("here")}}, [](FlowOpenAi& test) -> Async<void> {
    EXPECT_EQ((co_await ask(test, test.model({.silence = Milliseconds(200)}))).message.content, "here");
  });
}

TEST_F(FlowOpenAi, EndsItsRequestWhenTheRunIsStopped) {
  with({{.is_silent = true}}, [](FlowOpenAi& test) -> Async<void> {
    Session session(test.one_thread, test.clock, {.timeout = Milliseconds(50)});
    try {
      co_await session.call(agent("clerk", test.model()), "?");
      ADD_FAILURE() << "nobody answered";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::call_timeout);
    }
    EXPECT_EQ(session.info().running, 0U);
  });
  EXPECT_EQ(requests.size(), 1U);
}

TEST_F(FlowOpenAi, SpeaksForAnAgentWithTools) {
  const std::string wanted = R"({"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[
      {"id":"t1","type":"function","function":{"name":"twice","arguments":"{\"n\":4}"}}]},"finish_reason":"tool_calls"}]})";
  with({{.body = wanted}, {.body = whole("8")}}, [](FlowOpenAi& test) -> Async<void> {
    Session session(test.one_thread, test.clock, {});
    const auto twice = node("twice", [](int n) { return 2 * n; });
    const auto reply =
        co_await session.call(agent("clerk", test.model(), {.tools = {tool(twice, "Doubles", {"n"})}}), "2*4?");
    EXPECT_EQ(reply.content, "8");
  });
  const Json second = parse_json(requests.at(1).body);
  EXPECT_EQ(second.at("messages").at(1).at("tool_calls").at(0).at("function").at("arguments"), Json(R"({"n":4})"));
  EXPECT_EQ(second.at("messages").at(2), parse_json(R"({"role":"tool","content":"8","tool_call_id":"t1"})"));
  EXPECT_EQ(second.at("tools").at(0).at("function").at("name"), Json("twice"));
}

TEST(FlowOpenAiPauses, GrowAreSpreadAndHeedTheEndpoint) {
  const OpenAiOptions options{.first_pause = Milliseconds(100), .longest_pause = Milliseconds(1'000)};
  EXPECT_EQ(retry_pause(options, 1, Milliseconds(0), 0), Milliseconds(50));
  EXPECT_EQ(retry_pause(options, 1, Milliseconds(0), 255), Milliseconds(99));
  EXPECT_EQ(retry_pause(options, 3, Milliseconds(0), 128), Milliseconds(300));
  EXPECT_EQ(retry_pause(options, 60, Milliseconds(0), 0), Milliseconds(500));
  EXPECT_GE(retry_pause(options, 1, Seconds(7), 0), Seconds(7));
}

TEST(FlowOpenAiOptions, MustNameAModelAndAnEndpoint) {
  SystemClock clock;
  const auto make = [&](std::string endpoint, std::string name) {
    return [&clock, endpoint, name] { const OpenAiModel made(clock, {.endpoint = endpoint, .model = name}); };
  };
  EXPECT_THROW(make("http://127.0.0.1:1", "")(), Error);
  EXPECT_THROW(make("ftp://127.0.0.1", "m")(), Error);
  EXPECT_NO_THROW(make("https://127.0.0.1:1/v1", "m")());
}

}  // namespace
}  // namespace sojourn::flow
