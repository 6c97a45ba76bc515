#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "sojourn/flow/chat.hpp"
#include "sojourn/flow/json_schema.hpp"
#include "sojourn/flow/scope.hpp"

// Agents: nodes that ask a model, and call other nodes as the model wants.
//
//     const auto clerk = flow::agent("clerk", model, {.system_message = "You help {customer}.",
//                                                     .tools = {flow::tool(stock, "How many there are", {"part"})}});
//     const std::string text = (co_await scope.call(clerk, "Are there nuts?")).content;
namespace sojourn::flow {

// A node that a model may call.
struct Tool {
  ToolSpec spec;

  // The call of the node with these arguments, which leaves in `result` what the model is told of it: its output, or
  // "Error: why". Errors: invalid_request for arguments that do not fit.
  std::function<AnyCall(const Json& arguments, std::string& result)> bind;
};

struct AgentOptions {
  std::string system_message = {};
  std::vector<Tool> tools = {};
  std::size_t most_model_calls = 20;
  std::size_t most_tool_calls = 100;  // after these the model has to answer without
  bool broadcast_pieces = false;      // of answers as they come: {"agent": name, "piece": text}
  std::optional<double> temperature = std::nullopt;
};

template <class Content = std::string>
struct AgentReply {
  Content content;
  std::vector<ChatMessage> message_history;  // all that was said, from the system message on
};
template <class Content>
void tag_invoke(const boost::json::value_from_tag&, Json& json, const AgentReply<Content>& reply) {
  json = JsonObject{{"content", to_json(reply.content)},
                    {"message_history", boost::json::value_from(reply.message_history)}};
}
template <class Content>
AgentReply<Content> tag_invoke(const boost::json::value_to_tag<AgentReply<Content>>&, const Json& json) {
  const JsonObject& object = json.as_object();
  return {boost::json::value_to<Content>(object.at("content")),
          boost::json::value_to<std::vector<ChatMessage>>(object.at("message_history"))};
}

namespace detail {

// What a model is told of a node's output.
template <class T>
std::string told(const T& output) {
  if constexpr (requires { output.message_history; }) {
    return told(output.content);
  } else if constexpr (std::same_as<T, std::string>) {
    return output;
  } else {
    return to_text(to_json(output));
  }
}
std::string told_error(const std::exception_ptr& error);

template <class Result, class... Arguments>
Async<void> call_tool(Run& run, Job& job, const Scope& caller, std::uint64_t place, Node<Result, Arguments...> node,
                      std::tuple<Arguments...> arguments, std::string& result) {
  const auto begin = [&](Arguments&... each) {
    return invoke<Result, Arguments...>(run, job, {&caller, place}, std::move(node), std::move(each)...);
  };
  try {
    if constexpr (std::is_void_v<Result>) {
      co_await std::apply(begin, arguments);
      result = "done";
    } else {
      result = told(co_await std::apply(begin, arguments));
    }
  } catch (...) {
    result = told_error(std::current_exception());
  }
}

// Errors: invalid_request for what has other members than these.
void check_members(const Json& arguments, const std::vector<std::string>& names);

template <class T>
T argument(const JsonObject& arguments, const std::string& name) {
  const Json* const value = arguments.if_contains(name);
  if (value != nullptr) return from_json<T>(*value, "the argument \"" + name + "\"");
  if constexpr (is_optional<T>) return std::nullopt;
  throw Error(ErrorCode::invalid_request, "the argument \"" + name + "\" is missing");
}

// A node's name as models take one for a tool.
std::string tool_name(const std::string& node);

template <class... Arguments>
inline constexpr bool is_one_struct = false;
template <class Argument>
inline constexpr bool is_one_struct<Argument> = DescribedStruct<Argument>;

template <class... Arguments, std::size_t... at>
std::tuple<Arguments...> arguments_of(const Json& json, const std::vector<std::string>& names,
                                      std::index_sequence<at...>) {
  if constexpr (is_one_struct<Arguments...>) {
    if (names.empty()) return {from_json<Arguments>(json, "the arguments")...};
  }
  check_members(json, names);
  return {argument<Arguments>(json.get_object(), names[at])...};
}

template <class... Arguments>
JsonObject parameters_of(const std::string& node, const std::vector<std::string>& names) {
  if constexpr (is_one_struct<Arguments...>) {
    if (names.empty()) return schema_of<std::tuple_element_t<0, std::tuple<Arguments...>>>();
  }
  if (names.size() != sizeof...(Arguments)) {
    throw Error(ErrorCode::invalid_request, "a tool needs a name for each argument of node \"" + node + "\"");
  }
  JsonObject properties;
  JsonArray required;
  auto name = names.begin();
  const auto add = [&](JsonObject schema, bool may_be_left_out) {
    if (!may_be_left_out) required.emplace_back(*name);
    properties[*name++] = std::move(schema);
  };
  (add(schema_of<Arguments>(), is_optional<Arguments>), ...);
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

// Errors: invalid_request for two tools of one name.
std::shared_ptr<const AgentOptions> checked(AgentOptions options);

std::vector<ChatMessage> beginning(const AgentOptions& options, Conversation conversation);

// Asks, and calls tools, until the model answers with what is no tool call: the last message of `history` then.
// Errors: too_large past the limit of model calls; those of the model; cancelled.
Async<void> converse(Scope& scope, std::shared_ptr<ChatModel> model, std::shared_ptr<const AgentOptions> options,
                     std::optional<JsonObject> schema, std::vector<ChatMessage>& history, std::size_t& asked);

template <class Content>
Async<AgentReply<Content>> run_agent(Scope& scope, std::shared_ptr<ChatModel> model,
                                     std::shared_ptr<const AgentOptions> options, Conversation conversation) {
  std::vector<ChatMessage> history = beginning(*options, std::move(conversation));
  std::size_t asked = 0;
  if constexpr (std::same_as<Content, std::string>) {
    co_await converse(scope, model, options, std::nullopt, history, asked);
    std::string content = history.back().content;
    co_return AgentReply<Content>{std::move(content), std::move(history)};
  } else {
    while (true) {
      co_await converse(scope, model, options, schema_of<Content>(), history, asked);
      std::string problem;
      try {
        Content content = from_json<Content>(parse_json(history.back().content), "the answer");
        co_return AgentReply<Content>{std::move(content), std::move(history)};
      } catch (const Error& error) {
        problem = error.message();
      }
      history.push_back({.role = Role::user,
                         .content = "This is not the JSON that was asked for: " + problem + ". Answer again.",
                         .inject_prompt = false});
    }
  }
}

}  // namespace detail

// A tool that calls `node`. With one argument that is a described struct its members are the tool's arguments; else
// `names` has a name for each.
// Errors: invalid_request for another number of names.
template <class Result, class... Arguments>
Tool tool(Node<Result, Arguments...> node, std::string description, std::vector<std::string> names = {}) {
  JsonObject parameters = detail::parameters_of<Arguments...>(node.name(), names);
  return {.spec = {.name = detail::tool_name(node.name()),
                   .description = std::move(description),
                   .parameters = std::move(parameters)},
          .bind = [node, names = std::move(names)](const Json& json, std::string& result) -> AnyCall {
            auto arguments = detail::arguments_of<Arguments...>(json, names, std::index_sequence_for<Arguments...>());
            return [node, arguments = std::move(arguments), &result](Run& run, Job& job, const Scope& caller,
                                                                     std::uint64_t place) {
              return detail::call_tool<Result, Arguments...>(run, job, caller, place, node, arguments, result);
            };
          }};
}

// A node that asks `model`, calls the tools that it wants, all of one answer at the same time, and returns its
// answer. Where it is called with on_chunk, what the model says is emitted as it comes, in pieces of text. What a
// tool throws, wrong arguments and unknown tools are told to the model, which may try again. With a Content other
// than text the answer is JSON of that type; one that is not is sent back.
//
// Its errors: too_large past the limit of model calls, those of the model, cancelled.
// Errors: invalid_request for two tools of one name.
template <class Content = std::string>
Node<AgentReply<Content>, Conversation> agent(std::string name, std::shared_ptr<ChatModel> model,
                                              AgentOptions options = {}) {
  const auto shared = detail::checked(std::move(options));
  return node(NodeType(std::move(name), "Agent"),
              [model = std::move(model), shared](Scope& scope, Conversation conversation) {
                return detail::run_agent<Content>(scope, model, shared, std::move(conversation));
              });
}

}  // namespace sojourn::flow
