#include "sojourn/flow/openai_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <charconv>

#include "sojourn/base/event.hpp"
#include "sojourn/flow/openai_wire.hpp"
#include "sojourn/http/url.hpp"

namespace sojourn::flow {

namespace {

constexpr std::size_t quoted_bytes = 500;
constexpr JsonLimits answer_limits{.bytes = 64u << 20, .depth = 128};

constexpr bool is_passing(int status) {
  return status == 408 || status == 409 || status == 429 || status >= 500;
}

Milliseconds retry_after(const http::Response& head) {
  const std::string_view text = head.headers.find("Retry-After").value_or("");
  std::uint32_t seconds = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return problem == std::errc() && end == text.data() + text.size() ? Seconds(seconds) : Seconds(0);
}

// {"error": {"message": ...}} or {"error": ...}, where it is that.
std::string message_in(const std::string& body) {
  try {
    const Json json = parse_json(body, answer_limits);
    const Json& error = json.as_object().at("error");
    return error.is_object() ? std::string(error.get_object().at("message").as_string()) : to_text(error);
  } catch (const std::exception&) {
    return body;
  }
}

}  // namespace

Milliseconds retry_pause(const OpenAiOptions& options, unsigned failed, Milliseconds asked_for, std::uint8_t chance) {
  const Milliseconds longest =
      std::min(options.longest_pause, options.first_pause * (1 << std::min(failed - 1, 16U)));
  const Milliseconds share = longest * chance / 256;
  return asked_for > Milliseconds(0) ? asked_for + share / 4 : (longest + share) / 2;
}

// What came of one request.
struct OpenAiModel::Attempt {
  std::optional<ChatAnswer> answer{};
  std::optional<Error> error{};
  bool again = false;  // whether another may be made
  Milliseconds asked_for{0};
  bool was_heard = false;  // a piece was handed on
};

OpenAiModel::OpenAiModel(Clock& clock, OpenAiOptions options) : clock_(clock), options_(std::move(options)) {
  if (options_.model.empty()) throw Error(ErrorCode::config_invalid, "a model needs a name");
  http::Url url;
  try {
    url = http::parse_url(options_.endpoint);
  } catch (const Error& error) {
    throw Error(ErrorCode::config_invalid, "the endpoint of model \"" + options_.model + "\": " + error.message());
  }
  address_ = {.host = url.host, .port = url.port};
  target_ = url.target + (url.target.ends_with('/') ? "chat/completions" : "/chat/completions");
  if (!url.is_https) return;
  trust_ = options_.authorities.empty() ? std::make_unique<http::TlsTrust>()
                                        : std::make_unique<http::TlsTrust>(options_.authorities);
}

OpenAiModel::~OpenAiModel() = default;

Async<ChatAnswer> OpenAiModel::ask(ChatRequest request, Instant deadline, OnPiece on_piece) {
  const std::string body = openai_request(options_.model, request, on_piece != nullptr);
  for (unsigned number = 1;; ++number) {
    Attempt tried = co_await attempt(body, deadline, on_piece);
    if (tried.answer) co_return std::move(*tried.answer);
    if (!tried.again || tried.was_heard || number >= options_.attempts) throw Error(*tried.error);
    std::uint8_t chance = 0;
    random_.fill({&chance, 1});
    const Instant then = clock_.instant() + retry_pause(options_, number, tried.asked_for, chance);
    if (then >= deadline) throw Error(*tried.error);
    co_await sleep_until(clock_, then);
  }
}

Async<OpenAiModel::Attempt> OpenAiModel::attempt(const std::string& body, Instant deadline, const OnPiece& on_piece) {
  http::Request request{.method = http::Method::post, .target = target_, .body = body, .keep_alive = false};
  request.headers.add("Content-Type", "application/json");
  request.headers.add("Accept", on_piece ? "text/event-stream" : "application/json");
  if (!options_.api_key.empty()) request.headers.add("Authorization", "Bearer " + options_.api_key);
  http::Client client(co_await boost::asio::this_coro::executor, clock_, address_, {.trust = trust_.get()});
  Attempt tried;
  try {
    const http::Response head = co_await client.open(std::move(request), patience(deadline));
    if (head.status == 200) {
      co_await read_answer(client, head, deadline, on_piece, tried);
    } else {
      tried.again = is_passing(head.status);
      tried.asked_for = retry_after(head);
      tried.error = refusal(head, co_await read_whole(client, deadline));
    }
  } catch (const Error& error) {
    tried.answer.reset();
    tried.error = error;
    const bool is_silent = error.code() == ErrorCode::call_timeout && clock_.instant() < deadline;
    const bool is_broken = error.code() == ErrorCode::connection_failed || error.code() == ErrorCode::unavailable;
    tried.again = (is_broken && !error.details().contains("certificate")) || is_silent;
  }
  co_return tried;
}

Async<void> OpenAiModel::read_answer(http::Client& client, const http::Response& head, Instant deadline,
                                     const OnPiece& on_piece, Attempt& tried) {
  OpenAiAnswer answer;
  if (!head.content_type.starts_with("text/event-stream")) {
    const std::string body = co_await read_whole(client, deadline);
    try {
      answer.take_whole(parse_json(body, answer_limits));
    } catch (const Error& error) {
      throw broken(fmt::format("{}: {}", error.message(), quoted(body)));
    }
    tried.answer = answer.take();
    if (on_piece && !tried.answer->message.content.empty()) on_piece(tried.answer->message.content);
    co_return;
  }
  EventData events;
  std::size_t bytes = 0;
  bool is_done = false;
  while (!is_done) {
    const std::string came = co_await client.read(patience(deadline));
    if (came.empty()) break;
    bytes += came.size();
    if (bytes > 8 * options_.answer_bytes) throw Error(ErrorCode::too_large, "the model's answer has no end");
    events.feed(came);
    while (const auto data = events.next()) {
      is_done = is_done || *data == "[DONE]";
      if (is_done) break;
      std::string piece;
      try {
        piece = answer.take_piece(parse_json(*data, answer_limits));
      } catch (const Error& error) {
        if (error.code() == ErrorCode::too_large) throw;
        if (error.code() == ErrorCode::unavailable) {
          throw Error(error.code(), fmt::format("model \"{}\" at {} broke off: {}", options_.model, address_.host,
                                                quoted(error.message())));
        }
        throw broken(fmt::format("{}: {}", error.message(), quoted(*data)));
      }
      if (piece.empty() || !on_piece) continue;
      tried.was_heard = true;
      on_piece(piece);
    }
  }
  if (!answer.is_complete()) throw broken("the answer broke off before its end");
  tried.answer = answer.take();
}

Async<std::string> OpenAiModel::read_whole(http::Client& client, Instant deadline) {
  std::string body;
  while (true) {
    const std::string came = co_await client.read(patience(deadline));
    if (came.empty()) co_return body;
    body += came;
    if (body.size() > options_.answer_bytes) {
      throw Error(ErrorCode::too_large,
                  fmt::format("model \"{}\" answers with more than {} bytes", options_.model, options_.answer_bytes));
    }
  }
}

Error OpenAiModel::refusal(const http::Response& head, const std::string& body) const {
  const ErrorCode code = head.status == 401 || head.status == 403 ? ErrorCode::unauthorized
                         : is_passing(head.status)                ? ErrorCode::unavailable
                                                                  : ErrorCode::invalid_request;
  return Error(code,
               fmt::format("model \"{}\" at {} answered with status {}: {}", options_.model, address_.host,
                           head.status, quoted(message_in(body))),
               {{"status", head.status}});
}

Error OpenAiModel::broken(const std::string& what) const {
  return Error(ErrorCode::connection_failed,
               fmt::format("model \"{}\" at {} gave no answer: {}", options_.model, address_.host, what));
}

Instant OpenAiModel::patience(Instant deadline) const {
  return std::min(deadline, clock_.instant() + options_.silence);
}

// Some endpoints say the key back.
std::string OpenAiModel::quoted(std::string_view text) const {
  std::string part(text.substr(0, answer_limits.bytes));
  if (!options_.api_key.empty()) {
    constexpr std::string_view hidden = "***";
    for (auto at = part.find(options_.api_key); at != std::string::npos;
         at = part.find(options_.api_key, at + hidden.size())) {
      part.replace(at, options_.api_key.size(), hidden);
    }
  }
  return to_valid_utf8(std::string_view(part).substr(0, quoted_bytes));
}

}  // namespace sojourn::flow
