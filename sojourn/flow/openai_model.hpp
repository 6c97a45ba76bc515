#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/flow/chat.hpp"
#include "sojourn/http/client.hpp"

// A model behind an endpoint that speaks OpenAI's protocol: chat/completions.
namespace sojourn::flow {

struct OpenAiOptions {
  std::string endpoint = "https://api.openai.com/v1";
  std::string model;
  std::string api_key = {};                // sent to the endpoint, and to nobody else
  std::filesystem::path authorities = {};  // PEM: who alone may vouch for the endpoint; else whom this machine trusts
  unsigned attempts = 5;
  Milliseconds first_pause{500};  // before the second attempt; then twice as long each time, up to `longest_pause`
  Milliseconds longest_pause = Seconds(30);
  Milliseconds silence = Seconds(60);  // how long the endpoint may say nothing
  std::size_t answer_bytes = 8 << 20;
};

// How long to wait after attempt number `failed` (from 1), at least as long as the endpoint asks. `chance` is random.
Milliseconds retry_pause(const OpenAiOptions& options, unsigned failed, Milliseconds asked_for, std::uint8_t chance);

class OpenAiModel final : public ChatModel {
 public:
  // Lifetime: `clock` outlives it. Cost: https reads what this machine trusts, some 10 ms.
  // Errors:   config_invalid, io_error.
  OpenAiModel(Clock& clock, OpenAiOptions options);
  ~OpenAiModel() override;

  const std::string& name() const override { return options_.model; }
  std::optional<std::string> provider() const override { return address_.host; }

  // An answer is asked for in pieces if there is `on_piece`. What fails is asked again: no connection, one that broke
  // off, silence, an answer that is none, 408, 409, 429 and 5xx; but not once a piece was handed on.
  // Errors: unauthorized for 401 and 403, invalid_request for what else the endpoint refuses, unavailable for what it
  //         could not do, connection_failed where it gave no answer or its certificate is
  //         not trusted, too_large, call_timeout at `deadline`.
  Async<ChatAnswer> ask(ChatRequest request, Instant deadline, OnPiece on_piece) override;

 private:
  struct Attempt;
  Async<Attempt> attempt(const std::string& body, Instant deadline, const OnPiece& on_piece);
  Async<void> read_answer(http::Client& client, const http::Response& head, Instant deadline, const OnPiece& on_piece,
                          Attempt& tried);
  Async<std::string> read_whole(http::Client& client, Instant deadline);
  Error refusal(const http::Response& head, const std::string& body) const;
  Error broken(const std::string& what) const;
  Instant patience(Instant deadline) const;
  std::string quoted(std::string_view text) const;

  Clock& clock_;
  const OpenAiOptions options_;
  http::Address address_;
  std::string target_;
  std::unique_ptr<http::TlsTrust> trust_;  // of an https endpoint
  SystemRandom random_;
};

}  // namespace sojourn::flow
