#include "sojourn/flow/agent.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <boost/describe.hpp>
#include <deque>
#include <fstream>
#include <iterator>

#include "sojourn/base/limits.hpp"
#include "sojourn/base/temporary_folder_test.hpp"
#include "sojourn/flow/flow_fixture_test.hpp"
#include "sojourn/flow/schema_test.hpp"

namespace sojourn::flow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

struct Place {
  std::string city;
  std::optional<int> days;
};
BOOST_DESCRIBE_STRUCT(Place, (), (city, days))

struct Forecast {
  std::string sky;
  double degrees = 0;
  std::vector<std::string> hints;
};
BOOST_DESCRIBE_STRUCT(Forecast, (), (sky, degrees, hints))

ChatAnswer says(std::string text) {
  return {.message = {.role = Role::assistant, .content = std::move(text)}, .input_tokens = 7, .output_tokens = 2};
}

ChatAnswer wants(std::vector<ToolCall> calls, std::string text = "") {
  return {.message = {.role = Role::assistant, .content = std::move(text), .tool_calls = std::move(calls)}};
}

// Answers what it is told to, in order; the last answer for ever.
class ScriptedModel final : public ChatModel {
 public:
  explicit ScriptedModel(std::vector<ChatAnswer> answers) : answers_(answers.begin(), answers.end()) {}

  const std::string& name() const override { return name_; }
  std::optional<std::string> provider() const override { return "test"; }

  Async<ChatAnswer> ask(ChatRequest request, Instant, OnPiece on_piece) override {
    asked.push_back(request);
    if (error) throw Error(*error);
    ChatAnswer answer = answers_.front();
    if (answers_.size() > 1) answers_.pop_front();
    if (on_piece) on_piece(answer.message.content);
    co_return answer;
  }

  std::vector<ChatRequest> asked;
  std::optional<Error> error;

 private:
  std::string name_ = "scripted-1";
  std::deque<ChatAnswer> answers_;
};

class FlowAgent : public FlowTest {
 protected:
  static std::shared_ptr<ScriptedModel> model(std::vector<ChatAnswer> answers) {
    return std::make_shared<ScriptedModel>(std::move(answers));
  }
  static std::vector<std::string> results(const ChatRequest& request) {
    std::vector<std::string> found;
    for (const ChatMessage& message : request.messages) {
      if (message.role == Role::tool) found.push_back(message.content);
    }
    return found;
  }

  Node<std::string, Place> weather = node("look up the weather", [](const Place& place) {
    if (place.city == "Atlantis") throw std::out_of_range("it has sunk");
    return "sun in " + place.city;
  });
  Node<int, int, std::optional<int>> add =
      node("add", [](int a, std::optional<int> b) { return a + b.value_or(100); });
};

TEST(FlowJsonSchema, SaysWhatATypeTakes) {
  EXPECT_EQ(Json(schema_of<Place>()), parse_json(R"({"type":"object","properties":{"city":{"type":"string"},
              "days":{"anyOf":[{"type":"integer"},{"type":"null"}]}},
              "required":["city","days"],"additionalProperties":false})"));
  EXPECT_EQ(Json(schema_of<std::vector<double>>()), parse_json(R"({"type":"array","items":{"type":"number"}})"));
  EXPECT_EQ(Json(schema_of<std::map<std::string, bool>>()),
            parse_json(R"({"type":"object","additionalProperties":{"type":"boolean"}})"));
  EXPECT_EQ(Json(schema_of<Json>()), Json(JsonObject()));
  EXPECT_EQ(Json(schema_of<Conversation>()), parse_json(R"({"type":"string"})"));
}

TEST_F(FlowAgent, AnswersWithWhatItsModelSays) {
  const auto answers = model({says("Hello!")});
  Session session(one_thread);
  const auto reply = session.call_sync(agent("greeter", answers, {.system_message = "Be kind."}), "Hi");
  EXPECT_EQ(reply.content, "Hello!");
  ASSERT_EQ(reply.message_history.size(), 3U);
  EXPECT_EQ(reply.message_history[0].role, Role::system);
  EXPECT_EQ(reply.message_history[1].content, "Hi");
  EXPECT_EQ(session.info().graph.call(0).node->kind, "Agent");
}

TEST_F(FlowAgent, CallsTheToolsOfOneAnswerAndTellsTheModelWhatCameOfThem) {
  const auto answers =
      model({wants({{"a", "look_up_the_weather", R"({"city":"Rome","days":null})"}, {"b", "add", R"({"a":2})"}},
                   "Let me see."),
             says("done")});
  Session session(one_thread);
  const auto clerk =
      agent("clerk", answers, {.tools = {tool(weather, "The weather"), tool(add, "Adds", {"a", "b"})}});
  EXPECT_EQ(session.call_sync(clerk, "?").content, "done");
  ASSERT_EQ(answers->asked.size(), 2U);
  EXPECT_EQ(answers->asked[0].tools.at(1).name, "add");
  EXPECT_EQ(Json(answers->asked[0].tools.at(1).parameters),
            parse_json(R"({"type":"object","properties":{"a":{"type":"integer"},
              "b":{"anyOf":[{"type":"integer"},{"type":"null"}]}},"required":["a"],"additionalProperties":false})"));
  EXPECT_THAT(results(answers->asked[1]), ElementsAre("sun in Rome", "102"));
  EXPECT_EQ(answers->asked[1].messages.back().tool_call_id, "b");
  const Graph graph = session.info().graph;
  EXPECT_EQ(graph.children(0).size(), 2U);
  EXPECT_EQ(graph.call(1).node->name, "look up the weather");
}

TEST_F(FlowAgent, CallsToolsAtTheSameTime) {
  Event both;
  int waiting = 0;
  const auto meet = node("meet", [&](int) -> Async<void> {
    if (++waiting == 2) both.notify_all();
    if (waiting < 2) co_await both.wait();
  });
  const auto answers = model({wants({{"a", "meet", R"({"n":1})"}, {"b", "meet", R"({"n":2})"}}), says("met")});
  Session session(one_thread);
  EXPECT_EQ(session.call_sync(agent("host", answers, {.tools = {tool(meet, "Meets", {"n"})}}), "?").content, "met");
}

TEST_F(FlowAgent, TellsTheModelWhatWasWrongWithACall) {
  const auto answers = model({wants({{"1", "look_up_the_weather", R"({"city":"Atlantis","days":1})"},
                                     {"2", "sail", "{}"},
                                     {"3", "add", R"({"a":"two"})"},
                                     {"4", "add", R"({"a":1,"c":1})"},
                                     {"5", "add", "{}"},
                                     {"6", "add", "no JSON"},
                                     {"7", "add", "[1]"},
                                     {"8", "add", R"({"a":1,"b":2})"}}),
                              says("sorry")});
  Session session(one_thread);
  const auto clerk =
      agent("clerk", answers, {.tools = {tool(weather, "The weather"), tool(add, "Adds", {"a", "b"})}});
  EXPECT_EQ(session.call_sync(clerk, "?").content, "sorry");
  EXPECT_THAT(
      results(answers->asked[1]),
      ElementsAre("Error: it has sunk", HasSubstr("no tool \"sail\"; there are: look_up_the_weather, add"),
                  HasSubstr("the argument \"a\""), HasSubstr("no argument \"c\""), HasSubstr("\"a\" is missing"),
                  HasSubstr("Error: "), HasSubstr("must be a JSON object"), "3"));
}

TEST_F(FlowAgent, EndsAnEndlessTalk) {
  const auto answers = model({wants({{"1", "add", R"({"a":1})"}})});
  Session session(one_thread);
  const auto clerk = agent("clerk", answers,
                           {.tools = {tool(add, "Adds", {"a", "b"})}, .most_model_calls = 5, .most_tool_calls = 2});
  EXPECT_THAT(error_of([&] { session.call_sync(clerk, "?"); }),
              Pair(ErrorCode::too_large, "agent \"clerk\" asked its model 5 times and got no answer"));
  ASSERT_EQ(answers->asked.size(), 5U);
  EXPECT_THAT(answers->asked[1].tools, testing::SizeIs(1));
  EXPECT_THAT(answers->asked[2].tools, IsEmpty());  // two were called
  EXPECT_THAT(results(answers->asked[3]).back(), HasSubstr("no more tools"));
  EXPECT_EQ(session.info().graph.children(0).size(), 2U);
}

TEST_F(FlowAgent, GivesItsAnswerAsAValueAndSendsBackWhatIsNone) {
  const auto answers = model({says("Sunny!"), says(R"({"sky":"blue","degrees":"hot","hints":[]})"),
                              says(R"({"sky":"blue","degrees":21.5,"hints":["hat"]})")});
  Session session(one_thread);
  const auto reply = session.call_sync(agent<Forecast>("forecaster", answers), "Rome");
  EXPECT_EQ(reply.content.degrees, 21.5);
  EXPECT_THAT(reply.content.hints, ElementsAre("hat"));
  ASSERT_EQ(answers->asked.size(), 3U);
  EXPECT_TRUE(answers->asked[0].output_schema.has_value());
  EXPECT_THAT(answers->asked[1].messages.back().content, HasSubstr("not the JSON that was asked for"));
  EXPECT_EQ(parse_json(*session.info().graph.call(0).output).at("content").at("sky"), Json("blue"));
}

TEST_F(FlowAgent, CanBeATool) {
  const auto inner = model({says("42")});
  const auto outer = model({wants({{"1", "oracle", R"({"question":"?"})"}}), says("It said 42.")});
  const auto oracle = agent("oracle", inner);
  Session session(one_thread);
  const auto asks = agent("asks", outer, {.tools = {tool(oracle, "Knows", {"question"})}});
  EXPECT_EQ(session.call_sync(asks, "What?").content, "It said 42.");
  EXPECT_THAT(results(outer->asked[1]), ElementsAre("42"));
  EXPECT_EQ(inner->asked[0].messages[0].content, "?");
}

// Case 110 and the seed's default: user and system messages are filled in, unless they say no.
TEST_F(FlowAgent, FillsMessagesInFromTheContext) {
  const auto answers = model({wants({{"1", "echo", R"({"text":"{who}"})"}}), says("{who}")});
  const auto echo = node("echo", [](const std::string& text) { return text; });
  const std::vector<ChatMessage> said{{.role = Role::user, .content = "I am {who}, {missing} {{x}}"},
                                      {.role = Role::assistant, .content = "Hello {who}"},
                                      {.role = Role::user, .content = "{who}", .inject_prompt = false}};
  Session session(one_thread, {.context = {{"who", "Ada"}}});
  const auto clerk =
      agent("clerk", answers, {.system_message = "You help {who}.", .tools = {tool(echo, "", {"text"})}});
  const auto reply = session.call_sync(clerk, said);
  std::vector<std::string> contents;
  for (const ChatMessage& message : answers->asked[1].messages) contents.push_back(message.content);
  EXPECT_THAT(contents, ElementsAre("You help Ada.", "I am Ada, {missing} {x}", "Hello {who}", "{who}", "", "{who}"));
  EXPECT_EQ(reply.message_history[1].content, said[0].content);  // what the caller said stays as it is

  Session plain(one_thread, {.context = {{"who", "Ada"}}, .prompt_injection = false});
  plain.call_sync(agent("clerk", answers), "I am {who}");
  EXPECT_EQ(answers->asked.back().messages[0].content, "I am {who}");
}

TEST_F(FlowAgent, WarnsOnceOfWhatLooksLikeAFieldAndIsNone) {
  const auto scripted = model({wants({{"1", "add", R"({"a":1})"}}), says("done")});
  testing::internal::CaptureStderr();
  {
    Session session(one_thread, clock, {.context = {{"user", "Ada"}}, .logging_setting = LoggingSetting::quiet});
    session.call_sync(
        agent("clerk", scripted, {.system_message = "{user.name} {user} {}", .tools = {tool(add, "", {"a", "b"})}}),
        "Hi {user}");
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(log, '\n'), 1) << log;
  EXPECT_THAT(log,
              HasSubstr(R"(warning node "clerk": a message to a model has {user.name} {}, which is left as it is)"));
  EXPECT_EQ(scripted->asked.back().messages.front().content, "{user.name} Ada {}");
}

TEST_F(FlowAgent, BroadcastsItsAnswerAsItComesIfItIsTold) {
  std::vector<Json> items;
  {
    Session session(one_thread, {.broadcast_callback = [&items](const Json& item) { items.push_back(item); }});
    session.call_sync(agent("clerk", model({says("Hi")}), {.broadcast_pieces = true}), "?");
  }
  EXPECT_THAT(items, ElementsAre(Json(JsonObject{{"agent", "clerk"}, {"piece", "Hi"}})));
}

// Case 85. What the tools of an agent say is not its answer.
TEST_F(FlowAgent, HandsItsAnswerOnAsItComesToWhoTakesIt) {
  const auto inner = agent("inner", model({says("a secret")}));
  const auto outer =
      agent("outer", model({wants({{"1", "inner", R"({"q":"?"})"}}, "Let me ask. "), says("It is public.")}),
            {.tools = {tool(inner, "Knows", {"q"})}});
  std::vector<Json> pieces;
  Session session(one_thread);
  const auto reply =
      session.call_sync({.on_chunk = [&pieces](const Json& piece) { pieces.push_back(piece); }}, outer, "?");
  EXPECT_THAT(pieces, ElementsAre(Json("Let me ask. "), Json("It is public.")));
  EXPECT_EQ(reply.content, "It is public.");
}

// Case 83.
TEST_F(FlowAgent, LeavesTheMessagesOfItsCallerAsTheyWere) {
  const auto clerk = agent("clerk", model({says("Hello")}), {.system_message = "Be kind."});
  const std::vector<ChatMessage> said{{.content = "Hi {who}"}};
  std::vector<ChatMessage> after;
  const auto asks = node("asks", [&](Scope& scope) -> Async<void> {
    std::vector<ChatMessage> mine = said;
    co_await scope.call(clerk, mine);
    after = mine;
  });
  Session(one_thread, {.context = {{"who", "Ada"}}}).call_sync(asks);
  EXPECT_EQ(after, said);
}

// Case 90.
TEST_F(FlowAgent, LeavesItsMessageHistoryInTheRecordAlsoWhereItIsNestedOrFailed) {
  const auto inner = agent("inner", model({says("42")}));
  const auto outer = agent("outer", model({wants({{"1", "inner", R"({"q":"why?"})"}}), says("so")}),
                           {.tools = {tool(inner, "Knows", {"q"})}});
  const auto broken = model({says("")});
  broken->error = Error(ErrorCode::unavailable, "overloaded");
  Session session(one_thread);
  session.call_sync(outer, "tell me");
  EXPECT_THROW(session.call_sync(agent("third", broken), "me too"), Error);
  const std::vector<AgentHistory> histories = message_histories(session.info().graph);
  ASSERT_EQ(histories.size(), 3U);
  const auto said = [](const AgentHistory& history) {
    std::vector<std::string> texts;
    for (const ChatMessage& message : history.messages) texts.push_back(message.content);
    return texts;
  };
  EXPECT_EQ(histories[0].node, "outer");
  EXPECT_EQ(histories[0].call, 0U);
  EXPECT_THAT(said(histories[0]), ElementsAre("tell me", "", "42", "so"));
  EXPECT_EQ(histories[1].node, "inner");
  EXPECT_EQ(histories[1].call, 1U);
  EXPECT_THAT(said(histories[1]), ElementsAre("why?", "42"));
  EXPECT_THAT(said(histories[2]), ElementsAre("me too"));
}

TEST_F(FlowAgent, SaysInItsHistoryWhichMessageCouldNotBeRecorded) {
  Session session(one_thread);
  session.call_sync(agent("clerk", model({says("What?")})), std::string(limits::json_bytes + 1, 'x'));
  const std::vector<AgentHistory> histories = message_histories(session.info().graph);
  ASSERT_EQ(histories.size(), 1U);
  ASSERT_EQ(histories[0].messages.size(), 2U);
  EXPECT_EQ(histories[0].messages[0].role, Role::user);
  EXPECT_THAT(histories[0].messages[0].content, testing::HasSubstr("not recorded: "));
  EXPECT_EQ(histories[0].messages[1].content, "What?");
}

// Each question repeats the one before: all of them together would grow with the square of the questions.
TEST_F(FlowAgent, KeepsEachMessageOnceHoweverOftenItIsAskedAgain) {
  std::vector<ChatAnswer> answers;
  for (int i = 0; i < 15; ++i) answers.push_back(wants({{std::to_string(i), "add", R"({"a":1})"}}));
  answers.push_back(says("done"));
  Session session(one_thread);
  session.call_sync(agent("clerk", model(answers), {.tools = {tool(add, "", {"a", "b"})}}), std::string(10'000, 'x'));
  const CallRecord call = session.info().graph.call(0);
  ASSERT_EQ(call.model_calls.size(), 16U);
  std::size_t kept = 0;
  for (const auto& asked : call.model_calls) {
    for (const Text& message : asked->messages) kept += message->size();
  }
  EXPECT_LT(kept, 15'000U);
  EXPECT_EQ(call.question(0).size(), 1U);
  EXPECT_EQ(call.question(15).size(), 31U);
  EXPECT_EQ(*call.question(15).front(), *call.question(0).front());
}

// Where a template is filled in otherwise the second time, the question begins otherwise.
TEST_F(FlowAgent, KeepsAQuestionThatDoesNotRepeatTheOneBefore) {
  const auto rename = node("rename", [](Scope& scope) { scope.context().put("who", "Eve"); });
  const auto scripted = model({wants({{"1", "rename", "{}"}}), says("done")});
  Session session(one_thread, {.context = {{"who", "Ada"}}});
  session.call_sync(agent("clerk", scripted, {.system_message = "I am {who}", .tools = {tool(rename, "")}}), "?");
  const CallRecord call = session.info().graph.call(0);
  EXPECT_EQ(*call.question(0).front(), R"({"role":"system","content":"I am Ada"})");
  EXPECT_EQ(*call.question(1).front(), R"({"role":"system","content":"I am Eve"})");
  EXPECT_EQ(call.question(1).size(), 4U);
}

TEST_F(FlowAgent, FailsAsItsModelDoes) {
  const auto answers = model({says("")});
  answers->error = Error(ErrorCode::unavailable, "overloaded");
  Session session(one_thread);
  EXPECT_THAT(error_of([&] { session.call_sync(agent("clerk", answers), "?"); }),
              Pair(ErrorCode::unavailable, "overloaded"));
  ASSERT_EQ(session.info().graph.call(0).model_calls.size(), 1U);
  EXPECT_EQ(*session.info().graph.call(0).model_calls[0]->answer, "null");
}

TEST_F(FlowAgent, RefusesToolsThatCannotBeToldApart) {
  EXPECT_THAT(error_of([&] { agent("a", model({}), {.tools = {tool(weather, ""), tool(weather, "")}}); }),
              Pair(ErrorCode::invalid_request, HasSubstr("look_up_the_weather")));
  EXPECT_THAT(error_of([&] { tool(add, "", {"a"}); }), Pair(ErrorCode::invalid_request, HasSubstr("\"add\"")));
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Cases 93 and 95: the order of fields is the viewer's.
TEST_F(FlowAgent, IsSavedWithWhatItsModelWasAskedAndAnswered) {
  const TemporaryFolder home;
  ::setenv("RAILTRACKS_HOME", home.path().c_str(), 1);
  std::filesystem::path file;
  {
    Session session(one_thread, {.save_state = true});
    const auto answers = model({wants({{"1", "add", R"({"a":1})"}}, "Adding."), says("101")});
    session.call_sync(agent("clerk", answers, {.tools = {tool(add, "Adds", {"a", "b"})}}), "1+100?");
    file = session.saved_to();
  }
  ::unsetenv("RAILTRACKS_HOME");
  const Json saved = parse_json(text_of(file));
  EXPECT_EQ(Schema(parse_json(text_of(SOJOURN_FLOW_SCHEMA))).fault_of(saved), "");
  const Json agent_node = saved.at("runs").at(0).at("nodes").as_array().back();
  EXPECT_EQ(agent_node.at("node_type"), Json("Agent"));
  const JsonArray& asked = agent_node.at("details").at("internals").at("llm_details").as_array();
  ASSERT_EQ(asked.size(), 2U);
  std::vector<std::string> keys;
  for (const auto& [key, value] : asked[1].as_object()) keys.emplace_back(key);
  EXPECT_THAT(keys, ElementsAre("model_name", "model_provider", "input", "output", "input_tokens", "output_tokens",
                                "total_cost", "system_fingerprint", "latency"));
  EXPECT_EQ(asked[1].at("input").at(1),
            parse_json(R"({"role":"assistant","content":[{"identifier":"1","name":"add","arguments":{"a":1}}],
                           "text":"Adding."})"));
  EXPECT_EQ(asked[1].at("input").at(2),
            parse_json(R"({"role":"tool","content":{"identifier":"1","name":"add","result":"101"}})"));
  EXPECT_EQ(asked[1].at("output"), parse_json(R"({"role":"assistant","content":"101"})"));
  EXPECT_EQ(asked[1].at("input_tokens"), Json(7));
  EXPECT_THAT(agent_node.at("parent").at("details").at("internals").at("llm_details").as_array(), IsEmpty());
}

TEST(FlowChat, MessagesAreReadBackFromWhatTheyAreSavedAs) {
  const std::vector<ChatMessage> messages{
      {.role = Role::system, .content = "a"},
      {.role = Role::assistant, .content = "b", .tool_calls = {{"1", "add", R"({"a":1})"}, {"2", "x", "no JSON"}}},
      {.role = Role::tool, .content = "c", .tool_call_id = "1", .tool_name = "add"}};
  EXPECT_EQ(from_json<Conversation>(to_json(Conversation(messages)), "it").messages, messages);
  EXPECT_EQ(from_json<Conversation>("hi", "it").messages, Conversation("hi").messages);
  for (const char* text : {"7", R"([{"role":"robot","content":""}])", R"([{"role":"user"}])", "[7]"}) {
    EXPECT_THROW(from_json<Conversation>(parse_json(text), "it"), Error) << text;
  }
}

}  // namespace
}  // namespace sojourn::flow
