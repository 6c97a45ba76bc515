#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sojourn/flow/chat.hpp"

// OpenAI's chat/completions protocol as values: what is sent, and answers, whole or in pieces.
namespace sojourn::flow {

// The body of a request.
std::string openai_request(const std::string& model, const ChatRequest& request, bool in_pieces);

// Puts an answer together from what comes.
class OpenAiAnswer {
 public:
  // A whole answer. Errors: invalid_request for what is none.
  void take_whole(const Json& json);

  // The data of one server-sent event. Returns the piece of content in it. Errors: as above; unavailable for an error
  // that the endpoint tells in the middle of its answer; too_large for more tool calls than a model makes.
  std::string take_piece(const Json& json);

  // Whether the model has said why it stopped.
  bool is_complete() const { return complete_; }

  ChatAnswer take();

 private:
  void take_usage(const JsonObject& json);

  ChatAnswer answer_{.message = {.role = Role::assistant}};
  bool complete_ = false;
};

// Splits a stream of server-sent events into the data of each.
class EventData {
 public:
  // Errors: too_large for a line of more than 1 MiB.
  void feed(std::string_view bytes);

  // The data of the next whole event.
  std::optional<std::string> next();

 private:
  std::string input_;
  std::size_t looked_at_ = 0;
};

}  // namespace sojourn::flow
