#include "sojourn/flow/chat.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>

#include "sojourn/base/error.hpp"
#include "sojourn/flow/prompt.hpp"
#include "sojourn/flow/scope.hpp"

namespace sojourn::flow {

namespace {

constexpr std::string_view roles[] = {"system", "user", "assistant", "tool"};  // in the order of Role

Json json_or_text(const std::string& text) {
  try {
    return parse_json(text);
  } catch (const Error&) {
    return Json(to_valid_utf8(text));
  }
}

std::string text_at(const JsonObject& object, std::string_view key) {
  return std::string(object.at(key).as_string());
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Text text_of(const ChatMessage& message) {
  try {
    return std::make_shared<const std::string>(to_text(boost::json::value_from(message)));
  } catch (const Error& error) {
    const JsonObject instead{{"role", to_string(message.role)},
                             {"content", JsonObject{{"not_recorded", error.message()}}}};
    return std::make_shared<const std::string>(to_text(instead));
  }
}

std::string members(const JsonObject& object) {
  const std::string text = to_text(object);
  return text.substr(1, text.size() - 2);
}

// One of llm_details. Source: the reference's section 2.6, which also says the order.
ModelCall asked(const ChatModel& model, const std::vector<Text>& question, const std::optional<ChatAnswer>& answer,
                Nanoseconds latency) {
  const std::optional<std::string> provider = model.provider();
  return {.messages = question,
          .answer = answer ? text_of(answer->message) : std::make_shared<const std::string>("null"),
          .head = members({{"model_name", to_valid_utf8(model.name())},
                           {"model_provider", provider ? Json(to_valid_utf8(*provider)) : Json()}}),
          .tail = members({{"input_tokens", answer ? or_null(answer->input_tokens) : Json()},
                           {"output_tokens", answer ? or_null(answer->output_tokens) : Json()},
                           {"total_cost", nullptr},
                           {"system_fingerprint", answer ? or_null(answer->system_fingerprint) : Json()},
                           {"latency", std::chrono::duration<double>(latency).count()}})};
}

// Fills in the messages; where one is new, what in it looks like a field and is none is told.
void fill_in(Scope& scope, std::vector<ChatMessage>& messages) {
  const auto last_answer = std::ranges::find(messages.rbegin(), messages.rend(), Role::assistant, &ChatMessage::role);
  const auto first_new = last_answer.base();
  for (auto message = messages.begin(); message != messages.end(); ++message) {
    const bool is_template = message->role == Role::system || message->role == Role::user;
    if (!is_template || !message->inject_prompt) continue;
    if (message >= first_new) {
      if (const auto odd = odd_fields(message->content); !odd.empty()) {
        scope.log(LogLevel::warning,
                  fmt::format("node \"{}\": a message to a model has {}, which is left as it is: only {{key}} is "
                              "filled in, and {{{{ is a brace",
                              scope.node_name(), fmt::join(odd, " ")));
      }
    }
    message->content = fill_template(message->content, scope.context());
  }
}

}  // namespace

std::string_view to_string(Role role) {
  return roles[static_cast<std::size_t>(role)];
}

void tag_invoke(const boost::json::value_from_tag&, Json& json, const ChatMessage& message) {
  JsonObject object{{"role", to_string(message.role)}};
  if (!message.tool_calls.empty()) {
    JsonArray calls;
    for (const ToolCall& call : message.tool_calls) {
      calls.push_back({{"identifier", call.id}, {"name", call.name}, {"arguments", json_or_text(call.arguments)}});
    }
    object["content"] = std::move(calls);
    if (!message.content.empty()) object["text"] = to_valid_utf8(message.content);
  } else if (message.role == Role::tool) {
    object["content"] = JsonObject{{"identifier", message.tool_call_id},
                                   {"name", message.tool_name},
                                   {"result", to_valid_utf8(message.content)}};
  } else {
    object["content"] = to_valid_utf8(message.content);
  }
  json = std::move(object);
}

ChatMessage tag_invoke(const boost::json::value_to_tag<ChatMessage>&, const Json& json) {
  const JsonObject& object = json.as_object();
  ChatMessage message;
  const std::string word = text_at(object, "role");
  const auto role = std::ranges::find(roles, word);
  if (role == std::end(roles)) {
    throw Error(ErrorCode::invalid_request, "\"" + word + "\" is no role: system, user, assistant or tool");
  }
  message.role = static_cast<Role>(role - std::begin(roles));
  const Json& content = object.at("content");
  if (content.is_string()) {
    message.content = content.get_string();
  } else if (content.is_object()) {
    message.tool_call_id = text_at(content.get_object(), "identifier");
    message.tool_name = text_at(content.get_object(), "name");
    message.content = text_at(content.get_object(), "result");
  } else {
    for (const Json& call : content.as_array()) {
      const JsonObject& said = call.as_object();
      const Json& arguments = said.at("arguments");
      message.tool_calls.push_back(
          {.id = text_at(said, "identifier"),
           .name = text_at(said, "name"),
           .arguments = arguments.is_string() ? std::string(arguments.get_string()) : to_text(arguments)});
    }
    if (object.contains("text")) message.content = text_at(object, "text");
  }
  return message;
}

Conversation tag_invoke(const boost::json::value_to_tag<Conversation>&, const Json& json) {
  if (json.is_string()) return Conversation(std::string(json.get_string()));
  return Conversation(boost::json::value_to<std::vector<ChatMessage>>(json));
}

namespace {

// As text_of() made it.
ChatMessage recorded_message(const Json& json) {
  const Json& content = json.at("content");
  const Json* why = content.is_object() ? content.get_object().if_contains("not_recorded") : nullptr;
  if (why == nullptr) return boost::json::value_to<ChatMessage>(json);
  JsonObject instead = json.as_object();
  instead["content"] = "not recorded: " + std::string(why->as_string());
  return boost::json::value_to<ChatMessage>(Json(std::move(instead)));
}

}  // namespace

std::vector<AgentHistory> message_histories(const Graph& graph) {
  std::vector<AgentHistory> histories;
  for (const CallRecord& call : graph.calls()) {
    if (call.model_calls.empty()) continue;
    AgentHistory history{.call = call.id, .node = call.node->name};
    std::vector<Text> messages = call.question(call.model_calls.size() - 1);
    messages.push_back(call.model_calls.back()->answer);
    for (const Text& message : messages) {
      const Json json = parse_json(*message);
      if (!json.is_null()) history.messages.push_back(recorded_message(json));
    }
    histories.push_back(std::move(history));
  }
  return histories;
}

Async<ChatAnswer> ask(Scope& scope, ChatModel& model, ChatRequest request, OnPiece on_piece) {
  if (scope.injects_prompts()) fill_in(scope, request.messages);
  std::vector<Text> question;
  for (const ChatMessage& message : request.messages) question.push_back(text_of(message));
  const Instant begun = scope.clock().instant();
  std::optional<ChatAnswer> answer;
  std::exception_ptr error;
  try {
    answer = co_await model.ask(std::move(request), scope.deadline(), std::move(on_piece));
  } catch (...) {
    error = std::current_exception();
  }
  scope.note_model_call(asked(model, question, answer, scope.clock().instant() - begun));
  if (error) std::rethrow_exception(error);
  co_return std::move(*answer);
}

}  // namespace sojourn::flow
