#include "sojourn/server/webhooks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "sojourn/base/event.hpp"
#include "sojourn/base/limits.hpp"
#include "sojourn/base/signature.hpp"
#include "sojourn/http/url.hpp"
#include "sojourn/server/wire.hpp"

namespace sojourn::server {

namespace {

using store::Webhook;

constexpr Seconds first_delay{1};
constexpr Seconds longest_delay{4 * 3'600};
constexpr std::size_t error_bytes = 512;

}  // namespace

std::string parse_webhook_secret(std::string_view text) {
  constexpr std::string_view prefix = "whsec_";
  std::optional<std::string> key;
  if (text.starts_with(prefix)) key = from_base64(text.substr(prefix.size()));
  if (!key || key->size() < 24 || key->size() > 64) {
    throw Error(ErrorCode::invalid_request, "it must be whsec_ and 24 to 64 random bytes in base64");
  }
  return std::move(*key);
}

std::string webhook_signature(std::string_view key, std::string_view id, std::string_view timestamp,
                              std::string_view body) {
  const Hash hash = hmac_sha256(key, fmt::format("{}.{}.{}", id, timestamp, body));
  return "v1," + to_base64({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

Microseconds webhook_delay(unsigned attempt, std::uint8_t chance) {
  Microseconds delay = first_delay;
  for (unsigned i = 1; i < attempt && delay < longest_delay; ++i) delay *= 4;
  delay = std::min<Microseconds>(delay, longest_delay);
  return delay / 2 + delay / 2 * chance / 255;
}

Webhooks::Webhooks(Executor executor, runtime::Runtime& runtime, store::Outbox& outbox, Clock& clock, Random& random,
                   const Log& log, WebhookOptions options)
    : executor_(std::move(executor)),
      runtime_(runtime),
      outbox_(outbox),
      clock_(clock),
      random_(random),
      log_(log),
      options_(std::move(options)),
      blocking_(1),
      group_(executor_) {}

Webhooks::~Webhooks() {
  assert(group_.size() == 0);
}

Error Webhooks::not_set_up() {
  return Error(ErrorCode::invalid_request,
               "'webhook': this server sends none, for it has no webhook_secret to sign them with",
               {{"field", "webhook"}});
}

Async<Webhook> Webhooks::accept(std::string url, bool bare) {
  http::Url parsed;
  try {
    parsed = http::parse_url(url);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("'webhook': {}", error.message()), {{"field", "webhook"}});
  }
  if (co_await outbox_.open_webhooks(limits::open_webhooks) >= limits::open_webhooks) {
    throw Error(ErrorCode::unavailable,
                fmt::format("{} webhooks wait to be sent, the most that a server keeps", limits::open_webhooks),
                {{"open_webhooks", limits::open_webhooks}});
  }
  co_return Webhook{.url = std::move(url), .origin = parsed.origin(), .bare = bare};
}

Async<WebhookStatistics> Webhooks::statistics() {
  WebhookStatistics now = counts_;
  now.open = co_await outbox_.open_webhooks(limits::open_webhooks);
  co_return now;
}

void Webhooks::look() {
  if (closed_ || options_.key.empty()) return;
  if (running_) {
    look_again_ = true;
    return;
  }
  running_ = true;
  group_.spawn(run());
}

void Webhooks::look_at(Instant when) {
  if (closed_) return;
  alarm_ = clock_.set_alarm(when, executor_, [this] {
    alarm_.reset();
    look();
  });
}

Async<void> Webhooks::run() {
  do {
    look_again_ = false;
    try {
      while (!closed_ && co_await begin_due()) {
      }
    } catch (const Error& error) {
      log_.error("webhooks could not be looked for", {{"error", to_valid_utf8(error.message())}});
      look_at(clock_.instant() + look_again);
    }
  } while (look_again_ && !closed_);
  running_ = false;
}

std::set<std::string> Webhooks::busy_origins() const {
  std::map<std::string, std::size_t> counts;
  std::set<std::string> busy;
  for (const auto& [task, origin] : under_way_) {
    if (++counts[origin] >= most_at_once_to_one) busy.insert(origin);
  }
  return busy;
}

// Begins what is due and has room. Whether there may be more.
Async<bool> Webhooks::begin_due() {
  if (under_way_.size() >= most_at_once) co_return false;
  const store::OwedWebhooks owed =
      co_await outbox_.webhooks_owed(clock_.now(), most_at_once + under_way_.size(), busy_origins());
  // Also for calls that a server before this one settled, and for a wall clock that was set.
  Microseconds wait = look_again;
  if (owed.next) wait = std::clamp<Microseconds>(*owed.next - clock_.now(), Microseconds(0), look_again);
  look_at(clock_.instant() + wait);
  bool began = false;
  for (const store::OwedWebhook& one : owed.due) {
    if (closed_ || under_way_.size() >= most_at_once) break;
    if (under_way_.contains(one.task_id) || busy_origins().contains(one.webhook.origin)) continue;
    under_way_.emplace(one.task_id, one.webhook.origin);
    group_.spawn(deliver(one.task_id, one.webhook));
    began = true;
  }
  co_return began;
}

Async<void> Webhooks::deliver(std::string task_id, Webhook webhook) {
  std::optional<Error> failure;
  try {
    co_await attempt(task_id, webhook);
  } catch (...) {
    failure = to_error(std::current_exception());
  }
  bool written = closed_;
  if (!closed_) {
    note_attempt(task_id, webhook, failure);
    written = co_await write_down(task_id, webhook);
  }
  under_way_.erase(task_id);
  // What could not be written down is told again, but not at once.
  if (written) look();
}

void Webhooks::note_attempt(const std::string& task_id, Webhook& webhook, const std::optional<Error>& failure) {
  ++webhook.attempts;
  if (!failure) {
    webhook.status = Webhook::Status::delivered;
    webhook.error.clear();
    ++counts_.delivered;
    return;
  }
  webhook.error = to_valid_utf8(failure->message().substr(0, error_bytes));
  std::uint8_t chance = 0;
  random_.fill({&chance, 1});
  webhook.next_at = clock_.now() + webhook_delay(webhook.attempts, chance);
  // Of a call that was purged there is nothing to tell any more.
  if (webhook.attempts < most_attempts && failure->code() != ErrorCode::task_not_found) {
    ++counts_.failed;
    return;
  }
  webhook.status = Webhook::Status::given_up;
  ++counts_.given_up;
  log_.warning("a webhook was given up",
               {{"task", task_id}, {"url", webhook.url}, {"attempts", webhook.attempts}, {"error", webhook.error}});
}

Async<bool> Webhooks::write_down(const std::string& task_id, const Webhook& webhook) {
  try {
    co_await outbox_.webhook_tried(task_id, webhook);
    co_return true;
  } catch (const Error& error) {
    log_.error("what became of a webhook could not be written down",
               {{"task", task_id}, {"error", to_valid_utf8(error.message())}});
  }
  co_return false;
}

Async<http::ClientRules> Webhooks::rules(bool is_https) {
  if (is_https && !trust_) {
    auto trust = co_await blocking_.run([] { return std::make_unique<http::TlsTrust>(); });
    if (!trust_) trust_ = std::move(trust);
  }
  co_return http::ClientRules{.trust = is_https ? trust_.get() : nullptr, .only_public = !options_.allow_private};
}

Async<void> Webhooks::attempt(const std::string& task_id, const Webhook& webhook) {
  const http::Url url = http::parse_url(webhook.url);
  http::Request request{.method = http::Method::post, .target = url.target, .keep_alive = false};
  request.body = data_response(webhook.bare, 200, task_json(co_await runtime_.task(task_id))).body;
  const std::string timestamp = std::to_string(std::chrono::floor<Seconds>(clock_.now()).time_since_epoch().count());
  request.headers.add("Content-Type", "application/json");
  request.headers.add("User-Agent", options_.user_agent);
  request.headers.add("webhook-id", task_id);
  request.headers.add("webhook-timestamp", timestamp);
  request.headers.add("webhook-signature", webhook_signature(options_.key, task_id, timestamp, request.body));

  http::Client client(executor_, clock_, {.host = url.host, .port = url.port}, co_await rules(url.is_https));
  if (closed_) throw Error(ErrorCode::unavailable, "the server is stopping");
  clients_.emplace(task_id, &client);
  std::optional<http::Response> answer;
  std::exception_ptr failure;
  try {
    answer = co_await client.open(std::move(request), clock_.instant() + attempt_time);
  } catch (...) {
    failure = std::current_exception();
  }
  clients_.erase(task_id);
  if (failure) std::rethrow_exception(failure);
  if (answer->status / 100 != 2) {
    throw Error(ErrorCode::connection_failed, fmt::format("{} answered {}", url.origin(), answer->status));
  }
}

Async<void> Webhooks::close() {
  closed_ = true;
  alarm_.reset();
  for (const auto& [task, client] : clients_) client->close();
  co_await group_.join();
}

}  // namespace sojourn::server
