#pragma once

#include <boost/json/value_from.hpp>
#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sojourn/base/async.hpp"
#include "sojourn/base/clock.hpp"
#include "sojourn/base/json.hpp"
#include "sojourn/flow/graph.hpp"

// What models are asked, and what they answer.
namespace sojourn::flow {

enum class Role { system, user, assistant, tool };

// "system", "user", "assistant", "tool".
std::string_view to_string(Role role);

// What a model wants to be done. The arguments are text of the model's own: JSON if it keeps to what it was told.
struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;

  bool operator==(const ToolCall&) const = default;
};

struct ChatMessage {
  Role role = Role::user;
  std::string content = {};
  std::vector<ToolCall> tool_calls = {};  // of an assistant
  std::string tool_call_id = {};          // of a tool: which call this is the result of
  std::string tool_name = {};

  // Whether the content is a template that the context of the flow fills in; only of system and user.
  bool inject_prompt = true;

  bool operator==(const ChatMessage&) const = default;
};

// As Railtracks saves it: {"role", "content"}, where the content of an assistant that calls tools is a list of
// {"identifier", "name", "arguments"} with its words in "text", and that of a tool is {"identifier", "name",
// "result"}.
void tag_invoke(const boost::json::value_from_tag&, Json& json, const ChatMessage& message);
ChatMessage tag_invoke(const boost::json::value_to_tag<ChatMessage>&, const Json& json);

// What an agent is called with: messages, or one text of a user.
struct Conversation {
  Conversation(const char* text) : Conversation(std::string(text)) {}                             // NOLINT
  Conversation(std::string text) : messages{{.role = Role::user, .content = std::move(text)}} {}  // NOLINT
  Conversation(std::vector<ChatMessage> said) : messages(std::move(said)) {}                      // NOLINT

  static JsonObject json_schema() { return {{"type", "string"}}; }

  std::vector<ChatMessage> messages;
};
// A template, so that a list of messages is not taken for a conversation here.
template <std::same_as<Conversation> T>
void tag_invoke(const boost::json::value_from_tag&, Json& json, const T& conversation) {
  json = boost::json::value_from(conversation.messages);
}
Conversation tag_invoke(const boost::json::value_to_tag<Conversation>&, const Json& json);

// A tool as a model is told of it. `parameters` is a JSON schema.
struct ToolSpec {
  std::string name;
  std::string description;
  JsonObject parameters;
};

struct ChatRequest {
  std::vector<ChatMessage> messages;
  std::vector<ToolSpec> tools = {};
  std::optional<JsonObject> output_schema = std::nullopt;  // the content of the answer is to be JSON that fits it
  std::optional<double> temperature = std::nullopt;
};

struct ChatAnswer {
  ChatMessage message;
  std::optional<std::uint64_t> input_tokens = std::nullopt;
  std::optional<std::uint64_t> output_tokens = std::nullopt;
  std::optional<std::string> system_fingerprint = std::nullopt;
};

// Called with each piece of an answer's content as it comes.
using OnPiece = std::function<void(std::string_view piece)>;

// Threads: safe; asked from many lanes at once.
class ChatModel {
 public:
  virtual ~ChatModel() = default;

  virtual const std::string& name() const = 0;
  virtual std::optional<std::string> provider() const = 0;

  // Errors: its own; call_timeout at `deadline`. Cancel: ends the request.
  virtual Async<ChatAnswer> ask(ChatRequest request, Instant deadline, OnPiece on_piece) = 0;
};

// What one node said to a model and was answered, in the order in which it was said.
struct AgentHistory {
  CallId call;
  std::string node;
  std::vector<ChatMessage> messages;
};

// Of each call that asked a model, in the order of the calls: the messages of its last question, and the answer.
// One that could not be recorded says why.
std::vector<AgentHistory> message_histories(const Graph& graph);

class Scope;

// Asks `model` from inside a node, until the run's deadline: fills in the messages from the session's context, unless
// the session or a message says no, and records the question with what came of it as one of the node's llm_details.
// Errors: those of the model.
Async<ChatAnswer> ask(Scope& scope, ChatModel& model, ChatRequest request, OnPiece on_piece = nullptr);

}  // namespace sojourn::flow
