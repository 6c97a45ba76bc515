#include "sojourn/flow/openai_wire.hpp"

#include <fmt/format.h>

#include "sojourn/base/error.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::flow {

namespace {

constexpr std::size_t most_tool_calls = 1'024;  // in one answer
constexpr std::size_t line_bytes = limits::mebibyte;

JsonObject wire(const ChatMessage& message) {
  JsonObject json{{"role", to_string(message.role)}, {"content", to_valid_utf8(message.content)}};
  if (message.role == Role::tool) json["tool_call_id"] = message.tool_call_id;
  if (message.tool_calls.empty()) return json;
  if (message.content.empty()) json["content"] = nullptr;
  JsonArray calls;
  for (const ToolCall& call : message.tool_calls) {
    calls.push_back({{"id", call.id},
                     {"type", "function"},
                     {"function", {{"name", call.name}, {"arguments", to_valid_utf8(call.arguments)}}}});
  }
  json["tool_calls"] = std::move(calls);
  return json;
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_request, what);
}

// Protocols of this family leave fields out, or make them null.
const Json* find(const JsonObject& object, std::string_view key) {
  const Json* const value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string text_at(const JsonObject& object, std::string_view key) {
  const Json* const value = find(object, key);
  if (value == nullptr) return {};
  if (!value->is_string()) refuse(fmt::format("\"{}\" is no text", key));
  return std::string(value->get_string());
}

const JsonObject& object_in(const Json* value, std::string_view what) {
  if (value == nullptr || !value->is_object()) refuse(fmt::format("there is no \"{}\"", what));
  return value->get_object();
}

std::optional<std::uint64_t> number_at(const JsonObject& object, std::string_view key) {
  const Json* const value = find(object, key);
  if (value == nullptr || !(value->is_uint64() || (value->is_int64() && value->get_int64() >= 0))) {
    return std::nullopt;
  }
  return value->to_number<std::uint64_t>();
}

// The one choice that was asked for; nothing in a piece that brings only the usage.
const JsonObject* first_choice(const JsonObject& json) {
  const Json* const choices = find(json, "choices");
  if (choices == nullptr || !choices->is_array()) refuse("there are no \"choices\"");
  if (choices->get_array().empty()) return nullptr;
  return &object_in(&choices->get_array().front(), "choices[0]");
}

// A call, or what a piece adds to one.
void add_to(ToolCall& call, const JsonObject& json) {
  if (call.id.empty()) call.id = text_at(json, "id");
  const Json* const function = find(json, "function");
  if (function == nullptr) return;
  if (!function->is_object()) refuse("\"function\" is no object");
  call.name += text_at(function->get_object(), "name");
  call.arguments += text_at(function->get_object(), "arguments");
}

}  // namespace

std::string openai_request(const std::string& model, const ChatRequest& request, bool in_pieces) {
  JsonArray messages;
  for (const ChatMessage& message : request.messages) messages.push_back(wire(message));
  JsonObject json{{"model", model}, {"messages", std::move(messages)}};
  if (!request.tools.empty()) {
    JsonArray tools;
    for (const ToolSpec& tool : request.tools) {
      tools.push_back(
          {{"type", "function"},
           {"function", {{"name", tool.name}, {"description", tool.description}, {"parameters", tool.parameters}}}});
    }
    json["tools"] = std::move(tools);
  }
  if (request.output_schema) {
    json["response_format"] = JsonObject{
        {"type", "json_schema"}, {"json_schema", JsonObject{{"name", "answer"}, {"schema", *request.output_schema}}}};
  }
  if (request.temperature) json["temperature"] = *request.temperature;
  if (in_pieces) {
    json["stream"] = true;
    json["stream_options"] = JsonObject{{"include_usage", true}};
  }
  return to_text(json, {.bytes = 64 * limits::mebibyte});
}

void OpenAiAnswer::take_usage(const JsonObject& json) {
  if (const std::string mark = text_at(json, "system_fingerprint"); !mark.empty()) answer_.system_fingerprint = mark;
  const Json* const usage = find(json, "usage");
  if (usage == nullptr || !usage->is_object()) return;
  answer_.input_tokens = number_at(usage->get_object(), "prompt_tokens");
  answer_.output_tokens = number_at(usage->get_object(), "completion_tokens");
}

void OpenAiAnswer::take_whole(const Json& json) {
  const JsonObject& object = object_in(&json, "choices");
  const JsonObject* const choice = first_choice(object);
  if (choice == nullptr) refuse("there are no \"choices\"");
  const JsonObject& message = object_in(find(*choice, "message"), "message");
  answer_.message.content = text_at(message, "content");
  if (const Json* const calls = find(message, "tool_calls"); calls != nullptr) {
    if (!calls->is_array()) refuse("\"tool_calls\" is no list");
    for (const Json& call : calls->get_array()) {
      add_to(answer_.message.tool_calls.emplace_back(), object_in(&call, "tool_calls"));
    }
  }
  take_usage(object);
  complete_ = true;
}

std::string OpenAiAnswer::take_piece(const Json& json) {
  const JsonObject& object = object_in(&json, "choices");
  if (const Json* const error = find(object, "error")) {
    throw Error(ErrorCode::unavailable,
                error->is_object() ? text_at(error->get_object(), "message") : to_text(*error));
  }
  take_usage(object);
  const JsonObject* const choice = first_choice(object);
  if (choice == nullptr) return {};
  if (find(*choice, "finish_reason") != nullptr) complete_ = true;
  const Json* const said = find(*choice, "delta");
  if (said == nullptr) return {};
  const JsonObject& delta = object_in(said, "delta");
  if (const Json* const calls = find(delta, "tool_calls"); calls != nullptr && calls->is_array()) {
    for (const Json& call : calls->get_array()) {
      const JsonObject& part = object_in(&call, "tool_calls");
      auto& known = answer_.message.tool_calls;
      const std::uint64_t index = number_at(part, "index").value_or(known.size());
      if (index >= most_tool_calls) {
        throw Error(ErrorCode::too_large, fmt::format("more than {} tool calls in one answer", most_tool_calls));
      }
      if (index >= known.size()) known.resize(index + 1);
      add_to(known[index], part);
    }
  }
  std::string piece = text_at(delta, "content");
  answer_.message.content += piece;
  return piece;
}

ChatAnswer OpenAiAnswer::take() {
  auto& calls = answer_.message.tool_calls;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (calls[i].id.empty()) calls[i].id = fmt::format("call_{}", i);
  }
  return std::move(answer_);
}

void EventData::feed(std::string_view bytes) {
  input_ += bytes;
  if (input_.size() > line_bytes && input_.find('\n') == std::string::npos) {
    throw Error(ErrorCode::too_large, fmt::format("a line of more than {} bytes", line_bytes));
  }
}

std::optional<std::string> EventData::next() {
  constexpr std::string_view mark = "data:";
  while (true) {
    const std::size_t end = input_.find('\n', looked_at_);
    if (end == std::string::npos) {
      input_.erase(0, looked_at_);
      looked_at_ = 0;
      return std::nullopt;
    }
    std::string_view line = std::string_view(input_).substr(looked_at_, end - looked_at_);
    looked_at_ = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    // Each event of this protocol has one line of data; others are comments and names.
    if (!line.starts_with(mark)) continue;
    line.remove_prefix(mark.size());
    if (line.starts_with(' ')) line.remove_prefix(1);
    return std::string(line);
  }
}

}  // namespace sojourn::flow
