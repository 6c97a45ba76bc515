#include "sojourn/flow/agent.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace sojourn::flow {

namespace {

// What is known of the tools that one answer wants, and what came of them.
struct Wanted {
  std::vector<ChatMessage> results;  // one for each, in order
  std::vector<AnyCall> calls;        // of those that can be called; each writes into its result
};

std::string unknown_tool(const std::string& name, const std::vector<Tool>& tools) {
  std::vector<std::string> names;
  for (const Tool& tool : tools) names.push_back(tool.spec.name);
  return fmt::format("Error: there is no tool \"{}\"; there are: {}", name, fmt::join(names, ", "));
}

Wanted prepare(const std::vector<ToolCall>& wanted, const std::vector<Tool>& tools, std::size_t& left) {
  Wanted prepared;
  prepared.results.reserve(wanted.size());  // the calls hold on to what is in it
  for (const ToolCall& call : wanted) {
    prepared.results.push_back({.role = Role::tool, .tool_call_id = call.id, .tool_name = call.name});
    std::string& result = prepared.results.back().content;
    const auto tool =
        std::ranges::find(tools, call.name, [](const Tool& known) -> const std::string& { return known.spec.name; });
    if (tool == tools.end()) {
      result = unknown_tool(call.name, tools);
      continue;
    }
    if (left == 0) {
      result = "Error: no more tools may be called: answer with what you have";
      continue;
    }
    --left;
    try {
      // Some models say nothing where a tool takes nothing.
      const Json arguments = call.arguments.empty() ? Json(JsonObject()) : parse_json(call.arguments);
      prepared.calls.push_back(tool->bind(arguments, result));
    } catch (const Error& error) {
      result = "Error: " + error.message();
    }
  }
  return prepared;
}

OnPiece broadcaster(Scope& scope, const AgentOptions& options) {
  if (!options.broadcast_pieces && !scope.is_streamed()) return nullptr;
  return [&scope, broadcasts = options.broadcast_pieces](std::string_view piece) {
    const std::string text = to_valid_utf8(piece);
    scope.emit(Json(text));
    if (broadcasts) scope.broadcast(JsonObject{{"agent", scope.node_name()}, {"piece", text}});
  };
}

}  // namespace

namespace detail {

std::string told_error(const std::exception_ptr& error) {
  return "Error: " + failure_of(error).message;
}

void check_members(const Json& arguments, const std::vector<std::string>& names) {
  if (!arguments.is_object()) throw Error(ErrorCode::invalid_request, "the arguments must be a JSON object");
  for (const auto& [key, value] : arguments.get_object()) {
    if (std::ranges::find(names, key) == names.end()) {
      throw Error(ErrorCode::invalid_request, fmt::format("there is no argument \"{}\"; there are: {}",
                                                          std::string_view(key), fmt::join(names, ", ")));
    }
  }
}

std::string tool_name(const std::string& node) {
  std::string name = node.substr(0, 64);
  for (char& c : name) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    if (!fits) c = '_';
  }
  return name;
}

std::shared_ptr<const AgentOptions> checked(AgentOptions options) {
  std::set<std::string_view> names;
  for (const Tool& tool : options.tools) {
    if (!names.insert(tool.spec.name).second) {
      throw Error(ErrorCode::invalid_request, fmt::format("two tools of an agent are called \"{}\"", tool.spec.name));
    }
  }
  return std::make_shared<const AgentOptions>(std::move(options));
}

std::vector<ChatMessage> beginning(const AgentOptions& options, Conversation conversation) {
  std::vector<ChatMessage> history;
  if (!options.system_message.empty()) {
    history.push_back({.role = Role::system, .content = options.system_message});
  }
  std::ranges::move(conversation.messages, std::back_inserter(history));
  return history;
}

Async<void> converse(Scope& scope, std::shared_ptr<ChatModel> model, std::shared_ptr<const AgentOptions> options,
                     std::optional<JsonObject> schema, std::vector<ChatMessage>& history, std::size_t& asked) {
  std::size_t tools_left = options->most_tool_calls;
  while (asked++ < options->most_model_calls) {
    ChatRequest request{.messages = history, .output_schema = schema, .temperature = options->temperature};
    if (tools_left > 0) {
      for (const Tool& tool : options->tools) request.tools.push_back(tool.spec);
    }
    history.push_back((co_await ask(scope, *model, std::move(request), broadcaster(scope, *options))).message);
    if (history.back().tool_calls.empty()) co_return;
    Wanted wanted = prepare(history.back().tool_calls, options->tools, tools_left);
    if (!wanted.calls.empty()) co_await scope.call_each(std::move(wanted.calls));
    std::ranges::move(wanted.results, std::back_inserter(history));
  }
  throw Error(ErrorCode::too_large, fmt::format("agent \"{}\" asked its model {} times and got no answer",
                                                scope.node_name(), options->most_model_calls));
}

}  // namespace detail

}  // namespace sojourn::flow
