#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "sojourn/base/error.hpp"
#include "sojourn/base/log.hpp"
#include "sojourn/base/loop.hpp"
#include "sojourn/base/random.hpp"
#include "sojourn/base/task_group.hpp"
#include "sojourn/http/client.hpp"
#include "sojourn/runtime/runtime.hpp"
#include "sojourn/store/outbox.hpp"

// Tells the end of calls to the URLs that their callers named.
//
// What is to be told lies in the store from the call's last commit on, and stays there until somebody answered with
// 2xx, or all attempts failed; so nothing is lost with the server, and a receiver may be told twice.
// Source: standardwebhooks.com, for headers, signature and secret.
namespace sojourn::server {

struct WebhookOptions {
  std::string key;             // to sign with
  bool allow_private = false;  // also tells receivers on this machine and in private networks
  std::string user_agent = "Sojourn-Webhooks";
};

// The key that "whsec_" and base64 of 24 to 64 bytes stands for. Errors: invalid_request.
std::string parse_webhook_secret(std::string_view text);

// The value of the header webhook-signature.
std::string webhook_signature(std::string_view key, std::string_view id, std::string_view timestamp,
                              std::string_view body);

// How long after attempt number `attempt`, from 1, the next one follows; `chance` is 0 to 255.
Microseconds webhook_delay(unsigned attempt, std::uint8_t chance);

// Attempts since the server's start, and what is open now.
struct WebhookStatistics {
  std::uint64_t delivered = 0;
  std::uint64_t failed = 0;    // to be tried again
  std::uint64_t given_up = 0;  // the last one failed
  std::uint64_t open = 0;      // of calls that are not over, or not yet told; at most limits::open_webhooks
};

// Threads: one executor.
class Webhooks {
 public:
  static constexpr unsigned most_attempts = 10;
  static constexpr Seconds attempt_time{15};
  static constexpr std::size_t most_at_once = 16;
  static constexpr std::size_t most_at_once_to_one = 4;  // host and port
  static constexpr Seconds look_again{30};

  Webhooks(Executor executor, runtime::Runtime& runtime, store::Outbox& outbox, Clock& clock, Random& random,
           const Log& log, WebhookOptions options);
  ~Webhooks();  // asserts that it was closed

  // What refuses a webhook where no secret is set.
  static Error not_set_up();

  // The webhook to keep with a call. Errors: invalid_request; unavailable past limits::open_webhooks.
  Async<store::Webhook> accept(std::string url, bool bare);

  // Errors: those of Outbox.
  Async<WebhookStatistics> statistics();

  // Looks for what is to be told.
  void look();

  // Breaks off what is under way, which is told again by the next server.
  Async<void> close();

 private:
  Async<void> run();
  Async<bool> begin_due();
  Async<void> deliver(std::string task_id, store::Webhook webhook);
  Async<void> attempt(const std::string& task_id, const store::Webhook& webhook);
  void note_attempt(const std::string& task_id, store::Webhook& webhook, const std::optional<Error>& failure);
  Async<bool> write_down(const std::string& task_id, const store::Webhook& webhook);
  Async<http::ClientRules> rules(bool is_https);
  void look_at(Instant when);
  std::set<std::string> busy_origins() const;

  Executor executor_;
  runtime::Runtime& runtime_;
  store::Outbox& outbox_;
  Clock& clock_;
  Random& random_;
  const Log& log_;
  WebhookOptions options_;
  BlockingPool blocking_;
  TaskGroup group_;
  std::unique_ptr<http::TlsTrust> trust_;         // read when it is first needed
  std::map<std::string, std::string> under_way_;  // task to origin
  std::map<std::string, http::Client*> clients_;  // of those that are being sent
  std::unique_ptr<Alarm> alarm_;
  WebhookStatistics counts_;  // without those that are open
  bool running_ = false;
  bool look_again_ = false;
  bool closed_ = false;
};

}  // namespace sojourn::server
