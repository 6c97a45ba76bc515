#include "sojourn/client/transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "sojourn/base/error.hpp"
#include "sojourn/base/event.hpp"
#include "sojourn/base/limits.hpp"

namespace sojourn::client {

namespace {

constexpr Milliseconds first_pause{100};
constexpr Milliseconds longest_pause{5'000};
constexpr Milliseconds longest_retry_after{60'000};
constexpr std::size_t connections_kept = 32;
constexpr Seconds kept_time{30};  // less than half of what the server keeps an idle one

// A session's state can be longer than its limit where it is written with escapes.
constexpr JsonLimits answer_limits{.bytes = 256 * limits::mebibyte, .depth = limits::json_depth + 8};

constexpr bool is_success(int status) {
  return status >= 200 && status <= 299;
}

// What a proxy or a busy server answers in place of one that could.
constexpr bool is_passing(int status) {
  return status == 429 || (status >= 502 && status <= 504);
}

std::optional<Json> parsed(std::string_view body) {
  if (body.empty()) return Json(nullptr);
  try {
    return parse_json(body, answer_limits);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// What says that whoever answers there is no Sojourn server.
Error stranger(const std::string& url, const http::Response& head, std::string_view body) {
  std::string said = fmt::format("it says '{}'", to_valid_utf8(body.substr(0, 200)));
  if (head.status >= 300 && head.status < 400) {
    const std::string location(head.headers.find("Location").value_or("nowhere").substr(0, 200));
    said = fmt::format("it leads to {}; redirects are not followed", to_valid_utf8(location));
  }
  Error error(ErrorCode::connection_failed,
              fmt::format("{} answered with status {}, but not as a Sojourn server does: {}", url, head.status, said),
              {{"status", head.status}});
  error.set_retryable(is_passing(head.status));
  return error;
}

// The error that an answer tells of: {"error": {"code", "message", ...}, ...}.
std::optional<Error> told_error(std::string_view body) {
  const std::optional<Json> value = parsed(body);
  const JsonObject* const object = value ? value->if_object() : nullptr;
  const Json* const error = object != nullptr ? object->if_contains("error") : nullptr;
  if (error == nullptr || !error->is_object()) return std::nullopt;
  for (const std::string_view name : {"code", "message"}) {
    const Json* const word = error->get_object().if_contains(name);
    if (word == nullptr || !word->is_string()) return std::nullopt;
  }
  return Error::from_json(error->get_object());
}

Milliseconds retry_after(const http::Response& head) {
  const std::string_view text = head.headers.find("Retry-After").value_or("");
  std::uint32_t seconds = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return problem == std::errc() && end == text.data() + text.size() ? Seconds(seconds) : Seconds(0);
}

}  // namespace

struct Transport::Attempt {
  std::optional<Opened> opened{};  // the answer, if it is a good one
  std::string body{};              // all of it, where that was asked for
  std::optional<Error> error{};    // else what went wrong
  bool again = false;              // whether another attempt may be made
  Milliseconds at_least{0};        // not before
};

Opened::Opened(Transport& transport, std::unique_ptr<http::Client> connection, http::Response head)
    : transport_(&transport), connection_(std::move(connection)), head_(std::move(head)) {}

Async<std::string> Opened::read(Instant deadline) {
  if (!connection_) co_return "";
  std::string piece = co_await connection_->read(deadline);
  if (piece.empty()) transport_->give_back(std::move(connection_));
  co_return piece;
}

Transport::Transport(Executor executor, Clock& clock, Options options)
    : executor_(std::move(executor)), clock_(clock), options_(std::move(options)) {
  check(options_);
  http::Url url = parse_server_url(options_.url);
  address_ = {.host = std::move(url.host), .port = url.port};
  if (url.is_https) trust_ = std::make_unique<http::TlsTrust>();
}

Patience Transport::patience(std::optional<Milliseconds> timeout) const {
  return {.end = clock_.instant() + timeout.value_or(options_.timeout), .silence = options_.read_timeout};
}

Async<Reply> Transport::ask(Question question, Patience patience) {
  Attempt done = co_await attempts(std::move(question), patience, true);
  std::optional<Json> value = parsed(done.body);
  if (!value) throw stranger(options_.url, done.opened->head(), done.body);
  co_return Reply{.value = std::move(*value),
                  .next = next_page(done.opened->head().headers.find("Link").value_or(""))};
}

Async<std::string> Transport::fetch(Question question, Patience patience) {
  co_return (co_await attempts(std::move(question), patience, true)).body;
}

Async<Opened> Transport::open(Question question, Patience patience) {
  co_return std::move(*(co_await attempts(std::move(question), patience, false)).opened);
}

Async<bool> Transport::pause(unsigned attempt, Patience patience, Milliseconds at_least) {
  if (attempt > options_.retries || at_least > longest_retry_after) co_return false;
  const Milliseconds longest = std::min(longest_pause, first_pause * (1 << std::min(attempt - 1, 10U)));
  std::uint8_t chance = 0;
  random_.fill({&chance, 1});
  const Milliseconds share = longest * chance / 256;
  const Milliseconds wait = at_least > Milliseconds(0) ? at_least + share : (longest + share) / 2;
  const Instant then = clock_.instant() + wait;
  if (then >= patience.end) co_return false;
  co_await sleep_until(clock_, then);
  co_return true;
}

Async<Transport::Attempt> Transport::attempts(Question question, Patience patience, bool whole) {
  for (unsigned number = 0;;) {
    Attempt tried = co_await attempt(question, number, patience, whole);
    if (tried.opened) co_return tried;
    if (!tried.again || !co_await pause(++number, patience, tried.at_least)) throw *std::move(tried.error);
  }
}

Async<Transport::Attempt> Transport::attempt(const Question& question, unsigned number, Patience patience,
                                             bool whole) {
  http::Request request = encode(question, number);
  std::unique_ptr<http::Client> connection = borrow();
  Attempt tried;
  std::optional<Opened> opened;
  bool arrived = false;
  try {
    co_await connection->connect(std::min(patience.end, clock_.instant() + options_.connect_timeout));
    arrived = true;
    http::Response head = co_await connection->open(std::move(request), patience.for_next(clock_.instant()));
    whole = whole || !is_success(head.status);
    opened.emplace(*this, std::move(connection), std::move(head));
    while (whole) {
      const std::string piece = co_await opened->read(patience.for_next(clock_.instant()));
      if (piece.empty()) break;
      if (tried.body.size() + piece.size() > answer_limits.bytes) {
        throw Error(ErrorCode::too_large, fmt::format("{} answers with more than {} MiB", options_.url,
                                                      answer_limits.bytes / limits::mebibyte));
      }
      tried.body += piece;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::connection_failed && error.code() != ErrorCode::call_timeout) throw;
    tried.error = arrived ? error : Error(ErrorCode::connection_failed, error.message());
    tried.again = question.is_safe || !arrived;
    co_return tried;
  }
  const http::Response& head = opened->head();
  if (is_success(head.status)) {
    tried.opened = std::move(opened);
  } else if (tried.error = told_error(tried.body); tried.error) {
    tried.again = tried.error->retryable() && (head.status == 429 || head.status == 503);
    tried.at_least = retry_after(head);
  } else {
    tried.error = stranger(options_.url, head, tried.body);
    tried.again = question.is_safe && is_passing(head.status);
    tried.at_least = retry_after(head);
  }
  co_return tried;
}

http::Request Transport::encode(const Question& question, unsigned number) const {
  http::Request request{.method = question.method,
                        .target = question.target,
                        .headers = question.headers,
                        .body = number > 0 && question.next_body ? *question.next_body : question.body};
  if (!request.headers.find("Accept")) request.headers.add("Accept", "application/json");
  if (!request.body.empty() && !request.headers.find("Content-Type")) {
    request.headers.add("Content-Type", "application/json");
  }
  request.headers.add("X-API-Version", "2");
  request.headers.add("User-Agent", "sojourn-cpp");
  if (!options_.api_key.empty()) request.headers.add("Authorization", "Bearer " + options_.api_key);
  return request;
}

std::unique_ptr<http::Client> Transport::borrow() {
  std::erase_if(idle_, [&](const Idle& idle) { return clock_.instant() - idle.since > kept_time; });
  if (idle_.empty()) {
    return std::make_unique<http::Client>(executor_, clock_, address_, http::ClientRules{.trust = trust_.get()});
  }
  std::unique_ptr<http::Client> connection = std::move(idle_.back().connection);
  idle_.pop_back();
  return connection;
}

void Transport::give_back(std::unique_ptr<http::Client> connection) {
  if (idle_.size() < connections_kept) idle_.push_back({clock_.instant(), std::move(connection)});
}

std::string path_segment(std::string_view text) {
  std::string segment;
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (plain) {
      segment += c;
    } else {
      segment += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return segment;
}

std::string next_page(std::string_view link) {
  while (!link.empty()) {
    const auto open = link.find('<');
    const auto close = link.find('>', open);
    if (open == std::string_view::npos || close == std::string_view::npos) return "";
    std::string_view target = link.substr(open + 1, close - open - 1);
    link.remove_prefix(close + 1);
    const std::string_view parameters = link.substr(0, link.find('<'));
    const bool is_next = parameters.find("rel=\"next\"") != std::string_view::npos ||
                         parameters.find("rel=next") != std::string_view::npos;
    if (!is_next) continue;
    if (const auto scheme = target.find("://"); scheme != std::string_view::npos) {
      const auto path = target.find('/', scheme + 3);
      target = path == std::string_view::npos ? "/" : target.substr(path);
    }
    return std::string(target);
  }
  return "";
}

}  // namespace sojourn::client
